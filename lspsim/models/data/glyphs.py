"""Rendered characters: `glyphs` (50 classes) and `glyphs-hard` (224, unseen fonts in the test)."""

from __future__ import annotations

from dataclasses import dataclass, field

from lspsim.models.data.render import Distortion

_DEJAVU = (
    "Sans",
    "Sans-Bold",
    "Sans-Oblique",
    "Sans-BoldOblique",
    "SansMono",
    "SansMono-Bold",
    "SansMono-Oblique",
    "SansMono-BoldOblique",
    "Serif",
    "Serif-Bold",
    "Serif-Italic",
    "Serif-BoldItalic",
)
_STIX = ("General", "GeneralBol", "GeneralItalic", "GeneralBolIta")
ALL_FONTS = (*(f"DejaVu{style}.ttf" for style in _DEJAVU), *(f"STIX{style}.ttf" for style in _STIX))
"""The text fonts that come with matplotlib: all hold every class."""

_VALIDATION_FONTS = ("DejaVuSerif-Bold.ttf", "STIXGeneralItalic.ttf")
_TEST_FONTS = ("DejaVuSansMono-Oblique.ttf", "DejaVuSerif-Italic.ttf", "STIXGeneralBol.ttf")
_SEEN_FONTS = tuple(sorted(set(ALL_FONTS) - set(_VALIDATION_FONTS) - set(_TEST_FONTS)))


@dataclass(frozen=True, slots=True)
class GlyphSet:
    """One rendered dataset.

    Parameters
    ----------
    number
        Keeps its random draws apart from those of the others.
    characters
        The classes, in the order of their labels.
    fonts
        Fonts of each split, by file name.
    distortion
        How far an image differs from print.
    """

    number: int
    characters: str
    fonts: dict[str, tuple[str, ...]]
    distortion: Distortion = field(default_factory=Distortion)


EASY = GlyphSet(
    number=1,
    # capitals and small letters that differ by more than their size
    characters="ABCDEFGHJKLMNPQRSTUVWXYZabdefghijmnpqrtuy23456789&",
    fonts=dict.fromkeys(("train", "calibration", "validation", "test"), ALL_FONTS),
)

HARD = GlyphSet(
    number=2,
    # chosen greedily from the characters of all fonts: no two drawings, blurred by
    # one pixel, have a cosine above 0.9 in any font
    characters=(
        'ABCEJKLMPQSTUVWXYZabdfgimrt2347&!"#%*+/;<=>?@\\cksvxz|~£¤§©¬°±µ¶¿'
        "ÀÆÇÈÎÑÒÚÝÞàæçéðñøÿĄąĆĉĘĜĝĢĥĦĲĴĶķĸĹĻŀŅņŉŒŔŕŖŗŚśŞşŢţŲŴŵŹźƈƕƛƠƥƪưƺƾ"
        "ǼǽɔɖɚɛɢɣɤɧɩɬɮɰɲɴɶɸɹɺɻɿʅʆʇʌʍʎʐʑʒʗʞʟʢʣʤʦʧΈΊΎΏΐΞΣΨάέήζξτωϋώϙϝϞϟϠϡЂЃ"
        "ЉЊЋЌДЖЙФЦЧШЩЪЫЮЯлчъыљќѣґ†•…‰№™∂␣"
    ),
    fonts={
        "train": _SEEN_FONTS,
        "calibration": _SEEN_FONTS,
        "validation": _VALIDATION_FONTS,
        "test": _TEST_FONTS,
    },
)

GLYPHS = {"glyphs": EASY, "glyphs-hard": HARD}

COUNTS = {"train": 24_576, "calibration": 1024, "validation": 4096, "test": 12_000}
"""Images per split unless another number is asked for."""
