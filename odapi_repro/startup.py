"""Quick starts: no garbage is collected while the modules of a command load.

To be imported before anything else by a command that answers in a fraction of a second. Loading
makes no garbage, but so many objects that the collector walks over all of them again and again,
which was a fifth of the time of a cold `diagnose`.
"""

from __future__ import annotations

import gc

gc.disable()


def loaded() -> None:
    """Ends the loading: what is there is left alone from now on, and the rest is collected."""
    gc.freeze()
    gc.enable()
