"""Scene graphs of captions: objects, attributes and relations in the text."""
