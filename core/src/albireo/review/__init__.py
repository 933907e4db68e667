"""Looking at frames: the contact sheet of a night, and the local page on which a person decides about them.

The sheet is one page of HTML that a report links to. ``albireo review`` serves the same page with buttons, and every
click becomes an entry in the file of hand decisions, which a recipe replays.
"""

from albireo.review.sheet import contact_sheet
from albireo.review.thumbnails import frame_thumbnails

__all__ = ["contact_sheet", "frame_thumbnails"]
