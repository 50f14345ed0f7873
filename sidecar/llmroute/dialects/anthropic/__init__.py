"""The Anthropic wire format: messages.

A reader for apps of this dialect, and the adapter between its requests and answers and our internal form. Nothing here
knows the other dialect.
"""
