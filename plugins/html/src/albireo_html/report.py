"""The stage `html`: what a person looks at after a run, in one file that needs no network."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from albireo import Report

if TYPE_CHECKING:
    from albireo import Results


class Html(Report, name="html"):
    """Write one offline HTML page: light curves, photon limit, frames left out and why, masters, alignment, recipe.

    Sections come in the order in which an observer asks. A section without data says why it is empty, or is left out
    where nobody would miss it. Charts are drawn as SVG that follows the width of the window and its light or dark
    colours; images are block-averaged and written as 8-bit PNG inside the page.
    """

    max_rows: int = Field(
        1000,
        ge=1,
        description="Most rows of the table of frames; failed and dropped frames come first, frames.ecsv has them all.",
    )

    def write(self, run: Results, folder: Path) -> list[Path]:
        """Write ``index.html``.

        Parameters
        ----------
        run : Results
            A finished run.
        folder : Path
            Made if missing. The page is written under a temporary name and renamed.

        Returns
        -------
        list of Path
            The page, alone.

        Raises
        ------
        OSError
            If a product that the run lists is missing, or the folder cannot be written to.
        """
        from albireo import atomic_path
        from albireo_html._page import render

        page = Path(folder) / "index.html"
        text = render(run, page.parent, self.max_rows)
        with atomic_path(page) as partial:
            partial.write_text(text, encoding="utf-8")
        return [page]
