"""What the command line prints and asks: the commands' own code, the watch display, tables, errors.

Registered by `cli.py`; nothing else imports it. No torch, no Textual; pydantic and Rich only inside commands.
"""
