"""What becomes of a message that a channel does not take. `str()` of each is for the delivery log."""


class TryAgain(Exception):
    """The message was not taken now, and may be later."""


class Refused(Exception):
    """The message will never be taken."""
