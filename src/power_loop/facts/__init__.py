"""Facts: what is true and how it is written down. Knows nothing of models, tools, stores or time."""
