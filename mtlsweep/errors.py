"""Errors that are the user's to mend; they are shown as one line, without a traceback."""


class UserError(Exception):
    """A setting, a file or a state of the machine that the user can put right. The message is one line and says what to do."""


def summary(error: BaseException) -> str:
    """What went wrong in one line: a user's error says it, any other's type is named."""
    message = str(error).strip().partition("\n")[0]
    return message if isinstance(error, UserError) else f"{type(error).__name__}: {message}".removesuffix(": ")
