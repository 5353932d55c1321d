"""A STOP is a whole message that says nothing else, in many languages; a START never hides in a sentence."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from winback.track.stop_words import STOP, is_start, is_stop

STOPS = [
    *(
        "STOP",
        "Stop",
        " stop ",
        "stop.",
        "STOP!!!",
        "“Stop”",
        "(stop)",
        "stop\n",
        "🛑 stop 🛑",
    ),
    *("Stop please", "please STOP", "Pls stop, thanks!", "Stop, bitte", "STOP svp", "Opt-out", "OPT OUT", "Don't text me"),
    *("STOP 36105", "STOP Half Note", "stop HALFNOTE", "ＳＴＯＰ", "Unsubscribe me"),
    *("Stopp", "Abmelden", "KEINE WERBUNG MEHR!", "Arrêt", "ARRET", "Désabonner", "Baja", "No más", "não quero mais", "Basta"),
    *("СТОП", "стоп", "Отписаться", "отпишите меня", "Стоп!", "Відписатися", "Спри", "ΣΤΟΠ", "Διακοπή", "διακοπη"),
    *(
        "İPTAL",
        "iptal",
        "IPTAL",
        "Ret",
        "çıkış",
        "abonelikten çık",
        "توقف",
        "إلغاء",
        "الغاء",
        "إلغاء الاشتراك",
        "لغو",
        "لغو11",
        "لغو۱۱",
    ),
    *("הסר", "הסר אותי", "退订", "退訂", "TD", "停止", "配信停止", "수신거부", "หยุด", "ยกเลิก", "रोकें", "बंद करें", "Hủy", "huy"),
    *("Rezygnuję", "rezygnuje", "wypisz mnie", "Odhlásit", "odhlasit", "Leiratkozás", "leiratkozas", "Állj", "Dezabonare"),
    *("lopeta", "Afmelden", "Avmeld", "avregistrera", "berhenti", "Odjava", "Sitisha"),
]

NOT_STOPS = [
    *(
        "We have got to STOP this bill",
        "stop by tomorrow",
        "Non-stop",
        "nonstop",
        "bus stop",
        "I can't stop laughing",
        "Stopwatch",
    ),
    *("don't stop", "Stop it now or I call", "the end", "Endlich", "END OF MONTH?", "cancel my order please", "Quit smoking"),
    *(
        "please restart my order",
        "restart",
        "",
        " ",
        "?",
        "👍",
        "0",
        "10",
        "yes",
        "no",
        "Thanks",
        "please",
        "Fine",
        "Fin de semana",
        "red",
    ),
    *(
        "seis",
        "acha",
        "Nein danke, aber später gern",
        "Werbung",
        "keine Ahnung",
        "стоп-кран",
        "Остановка",
        "إلغاء طلبي",
        "停止營業了嗎",
    ),
    *("STOP Vinyl World", "Stop 5 minutes", "STOP\u0000 it at once", "hasta la vista", "Half Note"),
]

STARTS = ["START", "start", "Start!", "please start", "UNSTOP", "unstop thanks"]

NOT_STARTS = [
    *("restart", "please restart my order", "Start my order", "When does it start?", "yes", "STOP", "start stop", "unstoppable"),
    *("start 1", ""),
]


@pytest.mark.parametrize("text", STOPS)
def test_a_stop_is_understood(text: str) -> None:
    assert is_stop(text, "Half Note")
    assert not is_start(text)


@pytest.mark.parametrize("text", NOT_STOPS)
def test_a_sentence_is_no_stop(text: str) -> None:
    assert not is_stop(text, "Half Note")
    assert not is_start(text)


@pytest.mark.parametrize(("text", "starts"), [*((text, True) for text in STARTS), *((text, False) for text in NOT_STARTS)])
def test_a_start_is_a_whole_message_too(text: str, starts: bool) -> None:
    assert is_start(text) is starts


def test_stop_is_understood_everywhere_and_every_word_of_every_language_is() -> None:
    assert len(STOP) >= 30
    for words in STOP.values():
        for word in words:
            assert is_stop(word)
            assert is_stop(f" {word.upper()}! ")


@given(st.text())
def test_any_text_is_either_or_neither(text: str) -> None:
    assert not (is_stop(text) and is_start(text))
