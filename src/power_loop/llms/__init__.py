"""Model adapters. Import the one you need: ``llms.openai_chat``, ``llms.local``, or ``llms.resolve`` for strings."""
