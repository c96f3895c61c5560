"""What Anthropic's other platforms do differently on the wire."""

from collections.abc import Mapping
from types import ModuleType

import msgspec

from power_loop.llms.anthropic_frames import CONTENT_TYPE as FRAMES
from power_loop.llms.anthropic_frames import FrameDecoder
from power_loop.llms.clients import SdkClient
from power_loop.llms.wire import Decoder, Wire


class AnthropicWire(Wire):
    """A wire whose client may be one for another platform."""

    def payload(self, client: SdkClient, sdk: ModuleType, body: bytes) -> Mapping[str, object]:
        """Return the body as it is for Anthropic's own client.

        Clients for other platforms move parts of it to where their platform wants them, so they get it decoded.
        """
        if isinstance(client, sdk.AsyncAnthropic):
            return super().payload(client, sdk, body)
        return {"body": msgspec.json.decode(body)}

    def decoder(self, content_type: str) -> Decoder:
        """Return what reads an answer of this type."""
        return FrameDecoder() if content_type.startswith(FRAMES) else super().decoder(content_type)
