"""Taking in images and documents: files beneath roots, URLs of allowed hosts, the text of PDF files."""

from power_loop.content.intake import Intake

__all__ = ["Intake"]
