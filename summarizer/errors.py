"""The one exception that a command shows to its user as a single line, and the exit status then."""

EXIT_USER_ERROR = 2


class UserError(ValueError):
    """Something the user gave is wrong: the message names the value, the rule and the way out, in one line.

    Commands print it without a traceback and exit with status 2. Anything else that escapes is a bug of ours.
    """
