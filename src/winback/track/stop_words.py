"""What people answer to a text message to get no more of them, by language. Only a message that says nothing else counts.

"We have got to STOP this bill" is no STOP, and "please restart my order" no START. The words are those that carriers and laws
name (CTIA Messaging Principles, 5.2.3, for the United States; İYS for Turkey; the operators' own for most others), and how people
in practice write them.
"""

from __future__ import annotations

import unicodedata

#: Words and short sentences that end text messages, by ISO 639-1 language. Case, accents, punctuation and emoji do not matter.
#: Left out is what means something else in another language of the same people: Finnish "seis" is six in Spanish.
STOP: dict[str, tuple[str, ...]] = {
    "ar": ("توقف", "قف", "وقف", "إيقاف", "أوقف", "إلغاء", "إلغاء الاشتراك", "الغاء اشتراك"),
    "bg": ("стоп", "спри", "спрете", "отписване", "отпиши"),
    "cs": ("odhlásit", "odhlásit se", "zrušit", "konec", "nechci"),
    "da": ("afmeld", "frameld", "stop sms"),
    "de": (
        *("stopp", "abmelden", "abmeldung", "abbestellen", "austragen", "abbruch", "keine werbung", "keine werbung mehr"),
        *("keine sms", "keine sms mehr", "keine nachrichten mehr"),
    ),
    "el": ("στοπ", "διακοπή", "διαγραφή", "τέλος"),
    "en": (
        *("stop", "stopall", "stop all", "stop it", "unsubscribe", "unsubscribe me", "cancel", "end", "quit", "revoke", "remove"),
        *("remove me", "opt out", "optout", "opt me out", "no more", "no more texts", "stop texting", "stop texting me"),
        *("stop messages", "stop sms", "do not text me", "dont text me", "stop messaging me"),
    ),
    "es": ("alto", "baja", "dar de baja", "darme de baja", "darse de baja", "parar", "detener", "cancelar", "no más", "basta"),
    "et": ("lõpeta", "loobu", "tühista"),
    "fa": ("لغو", "لغو اشتراک", "توقف", "انصراف", "قطع"),
    "fi": ("lopeta", "peruuta", "poista"),
    "fr": ("arrêt", "arrêter", "arrêtez", "désabonner", "me désabonner", "désabonnement", "désinscrire", "désinscription", "fin"),
    "he": ("הסר", "הסר אותי", "הסרה", "הסירו", "הסירו אותי", "עצור", "די", "להסיר"),
    "hi": ("रोकें", "रोको", "बंद", "बंद करें", "बंद करो", "रुको"),
    "hr": ("odjava", "odjavi", "prekini", "zaustavi", "kraj"),
    "hu": ("állj", "leiratkozás", "leiratkozom", "leiratkozni", "lemondás", "elég", "vége"),
    "id": ("berhenti", "batal", "keluar"),
    "it": ("ferma", "fermare", "basta", "disiscrivi", "disiscrivimi", "cancella", "cancellami", "annulla"),
    "ja": ("停止", "配信停止", "解除", "配信解除", "退会", "ストップ"),
    "ko": ("수신거부", "거부", "중지", "정지", "그만", "해지"),
    "lt": ("atsisakau", "atsisakyti", "baigti"),
    "lv": ("atteikties", "atcelt", "beigt"),
    "ms": ("henti", "hentikan", "batal"),
    "nl": ("stoppen", "afmelden", "uitschrijven", "afmelding", "geen sms meer"),
    "no": ("stopp", "avmeld", "avslutt", "slutt"),
    "pl": ("wypisz", "wypisz mnie", "rezygnuję", "rezygnacja", "anuluj", "koniec", "zatrzymaj"),
    "pt": ("parar", "pare", "sair", "cancelar", "remover", "descadastrar", "não quero mais", "chega"),
    "ro": ("dezabonare", "dezabonează", "anulare", "oprește", "opriți"),
    "ru": ("стоп", "отписка", "отписаться", "отпишите", "отпишите меня", "отмена", "отказ", "хватит", "прекратите"),
    "sk": ("odhlásiť", "odhlásiť sa", "zrušiť", "koniec"),
    "sl": ("odjava", "odjavi", "konec"),
    "sr": ("одјава", "одјави", "прекини", "крај"),
    "sv": ("stopp", "avanmäl", "avregistrera", "avsluta", "sluta"),
    "sw": ("sitisha", "simamisha"),
    "th": ("หยุด", "ยกเลิก", "เลิก", "ยกเลิกรับข่าวสาร"),
    "tr": ("dur", "durdur", "iptal", "ret", "çık", "çıkış", "abonelikten çık"),
    "uk": ("стоп", "відписка", "відписатися", "відпишіть", "відмова", "скасувати", "досить"),
    "vi": ("dừng", "ngừng", "hủy", "huỷ", "từ chối", "tc"),
    "zh": ("退订", "退訂", "停止", "取消", "取消订阅", "取消訂閱", "td"),
}

#: What takes a STOP back (CTIA Messaging Principles, 5.2.4), and only a STOP.
START = ("start", "unstop")

#: Courtesies around the word.
_AROUND = ("please", "pls", "plz", "bitte", "svp", "merci", "danke", "thanks", "thank you", "gracias", "por favor")


def plain(text: str) -> str:
    """Return a text without case, accents, punctuation and emoji, its words one space apart."""
    # A capital I is an i, or in Turkish an ı.
    folded = unicodedata.normalize("NFKD", unicodedata.normalize("NFKC", text).casefold()).replace("ı", "i")
    kept = (letter for letter in folded if unicodedata.category(letter) != "Mn")
    # Apostrophes belong to their word: "don't" is "dont".
    return " ".join("".join("" if letter in "'’" else letter if _is_word(letter) else " " for letter in kept).split())


def is_stop(text: str, shop: str = "") -> bool:
    """Say whether a message as a whole asks for no more; a short code or the shop's name may follow the word (`STOP 36105`)."""
    words = _without_courtesy(plain(text))
    if words in _STOPS:
        return True
    first, _, rest = words.partition(" ")
    named = rest.replace(" ", "")
    follows = named.isdecimal() or (named != "" and named == plain(shop).replace(" ", ""))
    return (first in _STOPS and follows) or words.rstrip("0123456789۰۱۲۳۴۵۶۷۸۹") in _STOPS


def is_start(text: str) -> bool:
    """Say whether a message as a whole takes a STOP back."""
    return _without_courtesy(plain(text)) in START


def _is_word(letter: str) -> bool:
    return unicodedata.category(letter)[0] in "LMN"


def _without_courtesy(words: str) -> str:
    before = ""
    while words != before:
        before = words
        for polite in _AROUND:
            words = words.removeprefix(f"{polite} ").removesuffix(f" {polite}")
    return words


_STOPS = frozenset(plain(word) for words in STOP.values() for word in words)
