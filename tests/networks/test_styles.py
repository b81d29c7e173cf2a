"""Which map is joined how, against the definition."""

import subprocess
import sys

import pytest

from depthwright import Refusal
from depthwright.networks.styles import FIRST, STYLES, effective, links

P, R, N, B = "plain", "residual", "normalised", "normalised_residual"
WIDTHS = (6, 6, 6, 4, 4, 4)


@pytest.mark.parametrize(
    ("style", "inner"),
    [(P, (P, P, P)), (R, (R, P, R)), (N, (N, N, N)), (B, (B, P, B))],
    ids=STYLES,
)
def test_the_first_and_the_last_map_are_plain_and_equal_widths_are_needed(style, inner):
    assert links(WIDTHS, style) == (FIRST, *inner, P)


@pytest.mark.parametrize("style", STYLES)
def test_shallow_networks_have_one_style(style):
    assert links((3, 2), style) == (FIRST,)
    assert links((3, 3, 3), style) == (FIRST, P)
    assert effective((3, 2), style) == effective((3, 3, 3), style) == P
    assert effective((3, 5, 5, 1), style) == style


def test_a_residual_network_without_equal_layers_is_plain():
    assert effective((3, 4, 5, 6, 6), R) == P
    assert effective((3, 4, 5, 6, 6), N) == N


def test_an_unknown_style_lists_the_known():
    with pytest.raises(Refusal, match="'dense' is unknown; choose one of plain, residual, norm"):
        links(WIDTHS, "dense")


@pytest.mark.slow
def test_styles_are_known_without_torch():
    code = (
        "import sys; from depthwright.networks.styles import links; links((3, 3), 'plain');"
        "print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("False\n", "")
