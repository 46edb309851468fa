"""Codes of languages in file names where a benchmark does not use the usual ones."""

from __future__ import annotations


def _table(text: str) -> dict[str, str]:
    words = text.split()
    return dict(zip(words[::2], words[1::2], strict=True))


# LASER's Tatoeba files: the 41 languages of XTREME-R (XTREME has all but the last five).
LASER_CODES = _table("""
    af afr  ar ara  bg bul  bn ben  de deu  el ell  es spa  et est  eu eus  fa pes  fi fin  fr fra  he heb  hi hin
    hu hun  id ind  it ita  ja jpn  jv jav  ka kat  kk kaz  ko kor  ml mal  mr mar  nl nld  pt por  ru rus  sw swh
    ta tam  te tel  th tha  tl tgl  tr tur  ur urd  vi vie  zh cmn  az aze  lt lit  pl pol  uk ukr  ro ron
""")
