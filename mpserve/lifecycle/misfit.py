"""Why an ensemble waits for its models. Shape only."""

import msgspec

from mpserve.errors import Failure


class Misfit(msgspec.Struct, frozen=True, kw_only=True):
    """Why an ensemble can not serve with the models that there are.

    Attributes
    ----------
    is_absence
        One of them is not wanted: nobody did anything wrong.
    """

    failure: Failure
    is_absence: bool = False
