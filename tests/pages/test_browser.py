"""The committed pages in a browser: how long they are."""

import pytest

from places import ROOT

REFERENCE = ROOT / "reports" / "reference"
SCREEN = 800  # pixels, of 1280 by 800

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(("page", "screens"), [("depth/index.html", 5), ("index.html", 3)])
def test_a_page_is_short(look, page, screens):
    """The main study opens with at most five screens, the list of pages with three; all is whole and legible."""
    found = look(REFERENCE / page)

    assert found["height"] <= screens * SCREEN
    assert found["wide_1280"] == found["wide_390"] == 0
    assert found["cut_on_a_phone"] == found["cut_on_paper"] == found["split_on_paper"] == found["thin_on_a_phone"] == []
    assert found["small_on_a_phone"] == []
    assert found["html"] == found["axe"] == []
