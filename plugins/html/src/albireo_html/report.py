"""The stage `html`: what a person looks at after a run, without a network."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from albireo import Report

if TYPE_CHECKING:
    from albireo import Results


class Html(Report, name="html"):
    """Write an offline HTML page: light curves, photon limit, frames left out and why, masters, alignment, recipe.

    Sections come in the order in which an observer asks. A section without data says why it is empty, or is left out
    where nobody would miss it. Charts are drawn as SVG that follows the width of the window and its light or dark
    colours; images are block-averaged and written as 8-bit PNG inside the page. The contact sheet, a thumbnail of every
    raw frame with its verdict, is a page of its own, so that it costs nothing until it is opened.
    """

    max_rows: int = Field(
        1000,
        ge=1,
        description="Most rows of the table of frames; failed and dropped frames come first, frames.ecsv has them all.",
    )

    contact_sheet: Literal["all", "left-out", "none"] = Field(
        "all",
        description="Which frames the contact sheet shows: every one, or those that were not used; none leaves it out.",
    )

    animation: int = Field(
        100,
        ge=0,
        description="Most frames of the moving pictures of the fields, all together; 0 leaves the pictures out.",
    )

    def write(self, run: Results, folder: Path) -> list[Path]:
        """Write ``index.html``, and beside it what it loads when a person asks for it.

        These are the contact sheet ``frames.html`` with its thumbnails in ``frames/``, the cut-outs of watched stars in
        ``cutouts/``, and the moving pictures in ``alignment/``.

        Parameters
        ----------
        run : Results
            A finished run.
        folder : Path
            Made if missing. The page is written under a temporary name and renamed.

        Returns
        -------
        list of Path
            The page, then the contact sheet if there is one.

        Raises
        ------
        OSError
            If a product that the run lists is missing, or the folder cannot be written to.
        """
        from albireo import atomic_path, contact_sheet
        from albireo_html._page import render

        page = Path(folder) / "index.html"
        sheets = []
        if self.contact_sheet == "none":
            (page.parent / "frames.html").unlink(missing_ok=True)  # of an earlier run: it would tell of other frames
        else:
            sheets = [contact_sheet(run, page.parent, self.contact_sheet)]
        text = render(run, page.parent, self.max_rows, self.animation, [sheet.name for sheet in sheets])
        with atomic_path(page) as partial:
            partial.write_text(text, encoding="utf-8")
        return [page, *sheets]
