"""Tell the answers of machines from those of people: away until Monday, thank you for your message, a ticket was opened.

Programs should say so in a header (RFC 3834 section 5). Many do not, and begin the subject with the same words instead.
"""

from __future__ import annotations

import re

from winback.track.bounces.mail import Mail

#: How the subjects of automatic answers begin, by ISO 639-1 language: those of Outlook and Exchange, Gmail, GMX and web.de,
#: Zimbra, Yandex, Roundcube, and what people write themselves.
SUBJECTS: dict[str, tuple[str, ...]] = {
    "ar": ("رد تلقائي", "خارج المكتب"),
    "cs": ("automatická odpověď", "mimo kancelář"),
    "da": ("automatisk svar", "autosvar", "ikke til stede"),
    "de": ("automatische antwort", "automatische rückantwort", "abwesenheit", "abwesend", "ich bin nicht im büro", "urlaub"),
    "en": (
        *("automatic reply", "automatic response", "auto reply", "auto-reply", "autoreply", "auto response", "auto-response"),
        *("autoresponse", "out of office", "out of the office", "out-of-office", "ooo:", "i am away", "i'm away", "on vacation"),
        *("on holiday", "on leave", "away from my mail", "vacation reply"),
    ),
    "es": ("respuesta automática", "fuera de la oficina", "ausente", "ausencia"),
    "fi": ("automaattinen vastaus", "poissa toimistosta"),
    "fr": ("réponse automatique", "absence du bureau", "absent du bureau", "absence", "message d'absence"),
    "he": ("מענה אוטומטי", "תשובה אוטומטית"),
    "hu": ("automatikus válasz",),
    "it": ("risposta automatica", "fuori sede", "fuori ufficio", "assente"),
    "ja": ("自動返信", "自動応答", "不在"),
    "nl": ("automatisch antwoord", "afwezig", "afwezigheid", "niet aanwezig"),
    "no": ("automatisk svar", "fraværsassistent"),
    "pl": ("automatyczna odpowiedź", "autoodpowiedź", "poza biurem", "nieobecność"),
    "pt": ("resposta automática", "fora do escritório", "ausência"),
    "ru": ("автоответ", "автоматический ответ", "нет на месте", "вне офиса", "в отпуске"),
    "sv": ("autosvar", "automatiskt svar", "frånvaro"),
    "tr": ("otomatik yanıt", "ofis dışında"),
    "uk": ("автовідповідь", "автоматична відповідь"),
    "zh": ("自动答复", "自动回复", "自動回覆", "不在办公室"),
}

_BEGINNINGS = tuple(beginning for beginnings in SUBJECTS.values() for beginning in beginnings)

#: Headers that only machines write: qmail's autoresponder and many others, Autoreply of Plesk and cPanel, Yahoo, Lotus Notes.
_HEADERS = (
    "X-Autoreply",
    "X-Autorespond",
    "X-Autoresponder",
    "X-Mail-Autoreply",
    "X-Auto-Reply",
    "X-Vacation",
    "Vacation-Responder",
)

_PREFIX = re.compile(r"^(?:(?:re|aw|sv|vs|odp|antw|rv|ynt|回复|ответ)\s*(?:\[\d+\])?\s*[:：]\s*)+", re.IGNORECASE)


def is_automatic(mail: Mail) -> bool:
    """Say whether a machine wrote a mail in answer to another."""
    submitted = mail.header("Auto-Submitted").lower()
    if submitted and not submitted.startswith("no"):
        return True
    if any(mail.header(name) for name in _HEADERS) or mail.header("Precedence").lower() in ("auto_reply", "auto-reply"):
        return True
    return without_prefix(mail.header("Subject")).lower().startswith(_BEGINNINGS)


def without_prefix(subject: str) -> str:
    """Return a subject without its "Re:"."""
    return _PREFIX.sub("", subject.strip())
