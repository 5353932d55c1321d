"""What the unsubscribe pages say, by language. A language that is not here gets English.

`{what}` is one of the four kinds of message, `{shop}` the shop's name.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Words:
    """The sentences of one language."""

    direction: str  # ltr | rtl
    kinds: dict[str, str]  # CHANNEL_PURPOSE → what it is called
    unsubscribe: str
    ask: str
    button: str
    done_title: str
    done: str
    service_note: str
    undo: str
    back_title: str
    back: str
    unknown_title: str
    unknown: str
    write: str
    later_title: str
    later: str


_ENGLISH = Words(
    direction="ltr",
    kinds={
        "email_marketing": "marketing e-mail",
        "email_service": "e-mail about your orders",
        "sms_marketing": "marketing text messages",
        "sms_service": "text messages about your orders",
    },
    unsubscribe="Unsubscribe",
    ask="Do you want no more {what} from {shop}?",
    button="Yes, unsubscribe me",
    done_title="You are unsubscribed",
    done="You will get no more {what} from {shop}.",
    service_note="Messages about something you ordered may still reach you.",
    undo="That was a mistake: subscribe me again",
    back_title="You are subscribed again",
    back="You will get {what} from {shop} again.",
    unknown_title="This link leads nowhere",
    unknown="It may have been cut off on its way. Open it again from the message, or write to us.",
    write="Write to us",
    later_title="Please try again in a minute",
    later="Something is busy on our side. Nothing was changed.",
)

_GERMAN = Words(
    direction="ltr",
    kinds={
        "email_marketing": "Werbe-E-Mails",
        "email_service": "E-Mails zu deinen Bestellungen",
        "sms_marketing": "Werbe-SMS",
        "sms_service": "SMS zu deinen Bestellungen",
    },
    unsubscribe="Abmelden",
    ask="Möchtest du keine {what} von {shop} mehr bekommen?",
    button="Ja, abmelden",
    done_title="Du bist abgemeldet",
    done="Du bekommst keine {what} von {shop} mehr.",
    service_note="Nachrichten zu etwas, das du bestellt hast, können dich weiter erreichen.",
    undo="Das war ein Versehen: wieder anmelden",
    back_title="Du bist wieder angemeldet",
    back="Du bekommst wieder {what} von {shop}.",
    unknown_title="Dieser Link führt ins Leere",
    unknown="Vielleicht wurde er unterwegs abgeschnitten. Öffne ihn noch einmal aus der Nachricht oder schreib uns.",
    write="Schreib uns",
    later_title="Bitte versuche es in einer Minute noch einmal",
    later="Bei uns ist gerade etwas beschäftigt. Es wurde nichts geändert.",
)

_FRENCH = Words(
    direction="ltr",
    kinds={
        "email_marketing": "e-mails publicitaires",
        "email_service": "e-mails concernant vos commandes",
        "sms_marketing": "SMS publicitaires",
        "sms_service": "SMS concernant vos commandes",
    },
    unsubscribe="Se désabonner",
    ask="Ne plus recevoir : {what} de {shop} ?",
    button="Oui, me désabonner",
    done_title="Vous êtes désabonné",
    done="Vous ne recevrez plus : {what} de {shop}.",
    service_note="Les messages concernant une commande peuvent encore vous parvenir.",
    undo="C’était une erreur : me réabonner",
    back_title="Vous êtes de nouveau abonné",
    back="Vous recevrez de nouveau : {what} de {shop}.",
    unknown_title="Ce lien ne mène nulle part",
    unknown="Il a peut-être été coupé en route. Ouvrez-le de nouveau depuis le message ou écrivez-nous.",
    write="Nous écrire",
    later_title="Veuillez réessayer dans une minute",
    later="Notre serveur est occupé. Rien n’a été modifié.",
)

_SPANISH = Words(
    direction="ltr",
    kinds={
        "email_marketing": "correos publicitarios",
        "email_service": "correos sobre sus pedidos",
        "sms_marketing": "SMS publicitarios",
        "sms_service": "SMS sobre sus pedidos",
    },
    unsubscribe="Darse de baja",
    ask="¿No quiere recibir más {what} de {shop}?",
    button="Sí, darme de baja",
    done_title="Se ha dado de baja",
    done="No recibirá más {what} de {shop}.",
    service_note="Los mensajes sobre un pedido suyo todavía pueden llegarle.",
    undo="Ha sido un error: suscribirme de nuevo",
    back_title="Está suscrito de nuevo",
    back="Volverá a recibir {what} de {shop}.",
    unknown_title="Este enlace no lleva a ninguna parte",
    unknown="Quizá se cortó por el camino. Ábralo otra vez desde el mensaje o escríbanos.",
    write="Escríbanos",
    later_title="Inténtelo de nuevo dentro de un minuto",
    later="Nuestro servidor está ocupado. No se ha cambiado nada.",
)

_RUSSIAN = Words(
    direction="ltr",
    kinds={
        "email_marketing": "рекламные письма",
        "email_service": "письма о ваших заказах",
        "sms_marketing": "рекламные SMS",
        "sms_service": "SMS о ваших заказах",
    },
    unsubscribe="Отписаться",
    ask="Больше не получать {what} от {shop}?",
    button="Да, отписаться",
    done_title="Вы отписались",
    done="Вы больше не будете получать {what} от {shop}.",
    service_note="Сообщения о том, что вы заказали, могут приходить и дальше.",
    undo="Это ошибка: подписаться снова",
    back_title="Вы снова подписаны",
    back="Вы снова будете получать {what} от {shop}.",
    unknown_title="Эта ссылка никуда не ведёт",
    unknown="Возможно, она обрезалась по пути. Откройте её ещё раз из сообщения или напишите нам.",
    write="Написать нам",
    later_title="Попробуйте ещё раз через минуту",
    later="Наш сервер занят. Ничего не изменено.",
)

_ARABIC = Words(
    direction="rtl",
    kinds={
        "email_marketing": "رسائل البريد الإعلانية",
        "email_service": "رسائل البريد عن طلباتك",
        "sms_marketing": "الرسائل النصية الإعلانية",
        "sms_service": "الرسائل النصية عن طلباتك",
    },
    unsubscribe="إلغاء الاشتراك",
    ask="ألا تريد استلام {what} من {shop} بعد الآن؟",
    button="نعم، ألغوا اشتراكي",
    done_title="أُلغي اشتراكك",
    done="لن تصلك {what} من {shop} بعد الآن.",
    service_note="قد تصلك رسائل عمّا طلبته.",
    undo="كان ذلك خطأ: أعيدوا اشتراكي",
    back_title="عاد اشتراكك",
    back="ستصلك {what} من {shop} من جديد.",
    unknown_title="هذا الرابط لا يؤدي إلى شيء",
    unknown="ربما انقطع جزء منه. افتحه مرة أخرى من الرسالة أو اكتب إلينا.",
    write="اكتب إلينا",
    later_title="حاول مرة أخرى بعد دقيقة",
    later="خادمنا مشغول الآن. لم يتغير شيء.",
)

LANGUAGES: dict[str, Words] = {
    "en": _ENGLISH,
    "de": _GERMAN,
    "fr": _FRENCH,
    "es": _SPANISH,
    "ru": _RUSSIAN,
    "ar": _ARABIC,
}


def words_for(*locales: str | None) -> tuple[str, Words]:
    """Return the language and sentences for the first locale (`de-AT`) whose language is known, else English."""
    for locale in locales:
        language = (locale or "").replace("_", "-").partition("-")[0].lower()
        if language in LANGUAGES:
            return language, LANGUAGES[language]
    return "en", _ENGLISH
