"""Errors that are the user's to mend; they are shown as one line, without a traceback."""


class UserError(Exception):
    """A setting, a file or a state of the machine that the user can put right. The message is one line and says what to do."""
