"""The sentences that values are put into: one set to tune on, one to be judged by.

``{kind}`` is replaced by a value of that kind. The sets share no sentence and no phrasing.
"""

from __future__ import annotations

from typing import Final

Templates = dict[str, dict[str, tuple[str, ...]]]

TUNING: Final[Templates] = {
    "email": {
        "en": (
            "Drop me a line at {email} once it is done.",
            "user={email} action=login ok",
            '{"to": "{email}", "subject": "Invoice"}',
            "cc {email} on everything, will you?",
            "| 14 | {email} | active |",
            "Bounce: <{email}>: mailbox full",
            "const owner = '{email}';",
        ),
        "de": (
            "Meine Adresse lautet {email}.",
            "Absender: {email}; Betreff: Rechnung",
            "Leite das bitte an {email} weiter!",
            "Kontakt für Rückfragen ({email})",
            "E-Mail-Adresse={email}",
        ),
        "fr": (
            "Vous pouvez m'écrire à {email}.",
            "expéditeur;{email};accepté",
            "transférez tout à {email} svp",
            "Contact : {email}",
        ),
        "es": (
            "Mi correo es {email}, gracias.",
            "Remitente: <{email}>",
            "reenvíaselo a {email} cuanto antes",
            "E-mail: {email}",
        ),
    },
    "phone": {
        "en": (
            "Give me a ring on {phone} tonight.",
            "phone: {phone}",
            "She left her number, {phone}, with the clerk.",
            "If I don't answer, text {phone}.",
            '{"mobile": "{phone}"}',
            "Emergency contact (mother): {phone}",
            "My landline, {phone}, is dead.",
        ),
        "de": (
            "Du erreichst mich unter {phone}.",
            "Mobil: {phone}",
            "Er bat um Rückruf: {phone}.",
            "Am besten anrufen: {phone}",
            "Festnetz {phone}, ab 18 Uhr",
            "Die Nummer der Nachbarin ist {phone}.",
        ),
        "fr": (
            "Son portable est le {phone}.",
            "Tél. : {phone}",
            "Rappelez-moi au {phone} avant midi.",
            "Mobile {phone}",
        ),
        "es": (
            "Llámame al {phone} por la tarde.",
            "Teléfono: {phone}",
            "Su móvil: {phone}",
            "Contacta con ella en el {phone}.",
        ),
    },
    "iban": {
        "en": (
            "Send the money to {iban} please.",
            "iban,amount\n{iban},20.00",
            "Refund goes to {iban} (savings).",
            '"debtorAccount": "{iban}"',
            "My landlord wants it on {iban}.",
        ),
        "de": (
            "Bitte auf {iban} überweisen.",
            "IBAN: {iban}",
            "Die Miete geht an {iban}.",
            "Empfänger {iban} Betrag 12,00",
            "Kontoverbindung {iban}",
        ),
        "fr": (
            "Mon RIB : {iban}",
            "Le virement part vers {iban}.",
            "Prélèvement sur {iban} chaque mois.",
            "compte {iban}",
        ),
        "es": (
            "Transfiere el importe a {iban}.",
            "Cuenta: {iban}",
            "El alquiler se paga en {iban}.",
            "Número de cuenta {iban}",
        ),
    },
    "card": {
        "en": (
            "They charged {card} twice.",
            "card_number={card}",
            "Why was {card} declined?",
            '{"pan": "{card}", "exp": "10/29"}',
            "Visa ending? Full one is {card}.",
        ),
        "de": (
            "Abgebucht von Kreditkarte {card}.",
            "Karte: {card}",
            "Zahlungsmittel {card} wurde abgelehnt",
            "Meine neue Karte hat die Nummer {card}.",
        ),
        "fr": (
            "Débit sur la carte {card}.",
            "paiement refusé pour {card}",
            "CB : {card}",
        ),
        "es": (
            "Cargo en la tarjeta {card}.",
            "el número {card} no funciona",
        ),
    },
    "national_id": {
        "en": (
            "My ID for the form is {national_id}.",
            "id number: {national_id}",
            "{national_id} is what I put on the tax form.",
            "Applicant {national_id}, married",
        ),
        "de": (
            "Steuer-ID bzw. SV-Nummer: {national_id}",
            "Die Identifikationsnummer {national_id} steht im Bescheid.",
            "Meine Steuernummer / SVNR ist {national_id}.",
            "Versicherungsnr.: {national_id}",
            "IdNr {national_id}",
        ),
        "fr": (
            "Numéro de sécurité sociale : {national_id}",
            "Mon n° de sécu est le {national_id}.",
            "assurée sous le numéro {national_id}",
            "NIR {national_id}",
        ),
        "es": (
            "DNI/NIE {national_id}",
            "con documento {national_id} y domicilio en la ciudad",
            "mi NIF es {national_id}",
            "titular: {national_id}",
        ),
    },
    "passport": {
        "en": (
            "passport no: {passport}",
            "She travels on passport {passport}.",
            "Passport Number\n{passport}",
            "my passport ({passport}) expires soon",
        ),
        "de": (
            "Reisepass {passport}",
            "Ausweisnummer: {passport}",
            "Reisepassnummer {passport}",
            "Pass-Nr.: {passport}",
            "Perso: Ausweis-Nr. {passport}",
        ),
        "fr": (
            "passeport numéro {passport}",
            "N° de passeport : {passport}",
        ),
        "es": (
            "pasaporte n.º {passport}",
            "Nº de pasaporte {passport}",
        ),
    },
    "health_insurance": {
        "de": (
            "Versichertennummer: {insurance}",
            "gesetzlich versichert, KV-Nr. {insurance}",
            "Krankenversichertennummer {insurance}",
            "Karte der Kasse: {insurance}",
            "KVNR={insurance}",
        ),
    },
    "bank_account": {
        "en": (
            "sort code {sort_code}, account no. {account}",
            "routing number {aba} account number {account}",
            "Acct number: {account}, sort code: {sort_code}",
            "ABA {aba}, checking account {account}",
            "bank account {account} was closed",
        ),
        "de": (
            "Kontonummer: {account}",
            "Konto-Nr. {account}, BLZ 37040044",
        ),
    },
    "ip_address": {
        "en": (
            "Login from {ip} was blocked.",
            "client={ip} status=403",
            "{ip} visited /checkout at noon",
            "the customer's IP was {ip}",
            "X-Forwarded-For: {ip}",
        ),
        "de": (
            "Zuletzt angemeldet von {ip}.",
            "Anschlussinhaber der IP {ip}",
            "Zugriff: {ip}",
        ),
    },
    "licence_plate": {
        "en": (
            "a red car, licence plate {plate}, hit the wall",
            "plate: {plate}",
            "The van's number plate reads {plate}.",
            "vehicle registration {plate}, keeper unknown",
        ),
        "de": (
            "das Auto mit dem Kennzeichen {plate}",
            "Kfz-Kennzeichen: {plate}",
            "Falschparker, amtliches Kennzeichen {plate}",
            "Nummernschild: {plate}",
            "mein Wagen ({plate}) wurde abgeschleppt, Kennzeichen liegt vor",
        ),
        "fr": (
            "la voiture immatriculée {plate}",
            "plaque d'immatriculation {plate}",
        ),
        "es": (
            "el coche con matrícula {plate}",
            "Matrícula: {plate}",
        ),
    },
    "api_key": {
        "en": (
            "my key is {api_key}",
            'OPENAI_KEY = "{api_key}"',
            "api_key: {random_secret}",
            "curl -H 'Authorization: Bearer {random_secret}' https://x.test/",
            "I pasted {api_key} into the chat by accident",
            "--header 'x-api-key: {random_secret}'",
            '"client_secret": "{random_secret}"',
            "export TOKEN={api_key}",
        ),
        "de": (
            "Der Schlüssel {api_key} ist ungültig.",
            "token={random_secret}",
            "Mit {api_key} bekomme ich 401",
            "Zugriffsschlüssel: {api_key}",
        ),
    },
    "jwt": {
        "en": (
            "Cookie: session={jwt}",
            "what is in {jwt} ?",
            "id_token {jwt}",
            "verify('{jwt}')",
        ),
    },
    "private_key": {
        "en": (
            "this is the file:\n{private_key}",
            'key = """{private_key}"""',
            "ssh refuses this one\n\n{private_key}\n",
            "kind: Secret\ndata: |\n{private_key}",
        ),
    },
    "password": {
        "en": (
            "password={password}",
            "The password is {password}, do not tell.",
            "mysql://shop:{password}@db/shop",
            "login bob / password {password}",
            "pw: {password}",
            "Use {password} as the password for wifi, password: {password}",
            "redis://:{password}@cache:6379/0",
            '"passwd" : "{password}"',
            "my old password was {password}",
        ),
        "de": (
            "Passwort: {password}",
            "das Kennwort ist {password}",
            "Zugang: anna, Kennwort: {password}",
            "WLAN-Passwort = {password}",
            "mit dem Passwort {password} klappt es nicht",
        ),
        "fr": (
            "mot de passe : {password}",
            "le mot de passe est {password}",
            "mdp: {password}",
        ),
        "es": (
            "la contraseña es {password}",
            "contraseña: {password}",
            "clave = {password}",
        ),
    },
    "date_of_birth": {
        "en": (
            "born {date}",
            "DOB {date}",
            "Her date of birth is {date}.",
            "My birthday is {date}.",
            '"birthDate": "{date}"',
            "(b. 1 brother) date of birth {date}",
            "was born on {date} in Leeds",
        ),
        "de": (
            "geboren {date}",
            "Geburtsdatum {date}",
            "geb. {date}",
            "Ich bin am {date} geboren.",
            "Geb.-Datum: {date}",
            "* geboren am: {date}",
            "Geburtstag {date}",
        ),
        "fr": (
            "née le {date}",
            "date de naissance : {date}",
            "né(e) le : {date}",
            "Sa date de naissance, {date}, figure au dossier.",
        ),
        "es": (
            "nacida el {date}",
            "fecha de nacimiento {date}",
            "nació el {date}",
            "Fecha nac.: {date}",
        ),
    },
    "address": {
        "en": (
            "He lives at {address}.",
            "Ship to: {address}",
            "{name}\n{address}",
            "My new home: {address}",
            "Please pick up the parcel at {address}",
            "tenant {name}, {address}",
            "Address line: {address}",
        ),
        "de": (
            "Sie wohnt in {address}.",
            "Anschrift: {address}",
            "{name}\n{address}",
            "Ich bin umgezogen nach {address}",
            "Rechnungsadresse {name}, {address}",
            "Zustellung an: {address}",
            "Wohnort: {address}",
        ),
        "fr": (
            "Elle habite {address}.",
            "Adresse : {address}",
            "domiciliée {address}",
            "Livraison chez {name}, {address}",
        ),
        "es": (
            "Vive en {address}.",
            "Dirección: {address}",
            "con domicilio en {address}",
            "Enviar a {name}, {address}",
        ),
    },
    "health": {
        "en": (
            "My wife has {health}.",
            "{name} is being treated for {health}.",
            "I was told that I have {health}.",
            "{name} told HR about {health}.",
            "My colleague suffers from {health}, how can I help?",
            "Living with {health} for ten years, I wonder about travel.",
            "Patient {name}: {health}, stable",
        ),
        "de": (
            "Mein Sohn hat {health}.",
            "{name} wird wegen {health} behandelt.",
            "Ich habe {health}.",
            "{name} ist an {health} erkrankt.",
            "Meine Kollegin leidet unter {health}.",
            "Seit ich {health} habe, schlafe ich schlecht.",
            "Bei {name} besteht {health}.",
        ),
        "fr": (
            "Mon père a {health}.",
            "{name} est suivi pour {health}.",
            "{name} souffre de {health}.",
            "Ma collègue vit avec {health}.",
            "Depuis que j'ai {health}, je dors mal.",
        ),
        "es": (
            "Mi hija tiene {health}.",
            "{name} padece {health}.",
            "A {name} le detectaron {health}.",
            "Mi compañera sufre {health}.",
            "Desde que tengo {health}, duermo mal.",
        ),
    },
    "person": {
        "en": (
            "{name} was fired last week.",
            "Salary of {name}: 55,000",
            "Ms. {name} filed a complaint.",
            "{name} got a written warning for lateness.",
            "Loan application: {name}, rejected",
            "Mr {name} owes us rent.",
            "{name} and I disagreed in the review.",
        ),
        "de": (
            "{name} wurde gekündigt.",
            "Gehalt {name}: 4.200 Euro",
            "Frau {name} hat sich beschwert.",
            "{name} ist im Krankenstand, Lohn läuft weiter.",
            "Herr {name} hat Schulden.",
            "Abmahnung an {name}",
            "{name} kommt morgen später.",
        ),
        "fr": (
            "{name} a été licencié.",
            "Madame {name} a porté plainte.",
            "M. {name} demande un prêt.",
            "Le salaire de {name} augmente.",
            "{name} sera absente lundi.",
        ),
        "es": (
            "{name} fue despedido.",
            "La señora {name} presentó una denuncia.",
            "{name} pide una hipoteca.",
            "El sueldo de {name} sube.",
            "{name} llegará tarde.",
        ),
    },
    "obfuscated": {
        "en": (
            "mail {spelled_email}",
            "reach me: {wide:phone}",
            "card {zero:card}",
            "iban {cyrillic:iban}",
            "data={base64:email}",
            "q={percent:email}",
            "{broken:email}",
            "account {broken:iban}",
            "ping {spelled_email} for access",
            "dial {wide:phone}",
            "pay with {wide:card}",
            "acct {zero:iban}",
            "mailto {zero:email}",
            "{cyrillic:email} is mine",
            "blob: {base64:iban}",
            "?mail={percent:email}&x=1",
            "wire to {broken:iban} today",
            "card {broken:card}",
        ),
        "de": (
            "schreib an {spelled_email}",
            "Nummer {zero:phone}",
            "IBAN {wide:iban}",
            "Adresse: {spelled_email}",
            "Tel. {wide:phone}",
            "Konto {zero:iban}",
            "Mail {broken:email}",
        ),
        "fr": (
            "courriel {spelled_email}",
            "carte {zero:card}",
        ),
        "es": (
            "correo {spelled_email}",
            "tarjeta {wide:card}",
        ),
    },
}

TEST: Final[Templates] = {
    "email": {
        "en": (
            "My boss ({email}) never answers.",
            "reply-to={email};",
            "Sign me up with {email} please",
            "[{email}] joined the channel",
        ),
        "de": ("Rechnung bitte per Mail: {email}", "angemeldet als {email}", "Ihr Benutzername ist {email}."),
        "fr": ("connecté avec {email}", "Son adresse : {email}."),
        "es": ("usuario {email} bloqueado", "mándalo a {email}"),
    },
    "phone": {
        "en": (
            "My cell is {phone}, text only.",
            "Caller ID {phone}",
            "WhatsApp me: {phone}",
            "dial {phone} and ask for Bob",
        ),
        "de": ("Handynummer {phone}", "Meine Durchwahl privat: {phone}", "ruf mich an, {phone}"),
        "fr": ("On peut me joindre au {phone}.", "tél {phone}"),
        "es": ("mi número es el {phone}", "tlf. {phone}"),
    },
    "iban": {
        "en": ("payout account: {iban}", "Salary should land on {iban} from May.", "<Iban>{iban}</Iban>"),
        "de": ("Gehalt bitte auf {iban}", "Lastschrift von {iban} ging zurück"),
        "fr": ("remboursement sur {iban}", "coordonnées bancaires {iban}"),
        "es": ("domiciliación en {iban}", "abonar en {iban}"),
    },
    "card": {
        "en": (
            "Store {card} for one-click checkout.",
            "amex/visa {card} 09/28",
            "my mum's card number is {card}",
        ),
        "de": ("Die Nummer vorne drauf ist {card}.", "belastet: {card}"),
        "fr": ("ma carte bancaire {card} est bloquée",),
        "es": ("pagué con la {card}",),
    },
    "national_id": {
        "en": ("It asks for my number, {national_id}, again.", "taxpayer {national_id}"),
        "de": (
            "laut Sozialversicherungsausweis {national_id}",
            "steuerliche Identifikationsnummer: {national_id}",
        ),
        "fr": ("sécu {national_id}", "immatriculée à la sécurité sociale sous le {national_id}"),
        "es": ("N.I.F. {national_id}", "soy {national_id} según mi carnet"),
    },
    "passport": {
        "en": ("They scanned passport {passport} at the border.", "travel document: passport #{passport}"),
        "de": ("Der Pass mit der Passnummer {passport} ist weg.", "Personalausweis Nr. {passport}"),
        "fr": ("mon passeport est le {passport}",),
        "es": ("pasaporte nº {passport} caducado",),
    },
    "health_insurance": {"de": ("Versicherten-Nr.: {insurance}", "eGK {insurance}")},
    "bank_account": {
        "en": (
            "a/c no {account} sort-code {sort_code}",
            "wire via routing number: {aba}",
            "my account number is {account}",
        ),
        "de": ("Kontonr.: {account} bei der Sparkasse",),
    },
    "ip_address": {
        "en": ("brute force attempts came from {ip}", "remote_addr: {ip}", "Blocked {ip} for abuse."),
        "de": ("Der Nutzer kam über {ip}.",),
    },
    "licence_plate": {
        "en": ("Somebody keyed my car, number plate {plate}.", "reg: {plate}"),
        "de": ("Halter des Fahrzeugs {plate}", "Kfz-Kz.: {plate}", "amtl. Kennz. {plate}"),
        "fr": ("véhicule {plate} en double file",),
        "es": ("furgoneta con placa {plate}",),
    },
    "api_key": {
        "en": (
            "rotated {api_key} yesterday",
            "headers = {'Authorization': 'Token {random_secret}'}",
            "SECRET_KEY='{random_secret}'",
            "access token: {random_secret}",
        ),
        "de": ("API-Schlüssel lautet {random_secret}", "hier mein Token: {api_key}"),
    },
    "jwt": {"en": ("set-cookie: sid={jwt}; HttpOnly", "my token expired: {jwt}")},
    "private_key": {"en": ("-- begin paste --\n{private_key}\n-- end paste --", '{"key": "{private_key}"}')},
    "password": {
        "en": (
            "I set the passphrase to {password}",
            "PGPASSWORD={password} psql",
            "user root, pass {password}",
            "ftp://bob:{password}@files.host/",
        ),
        "de": ("Dein neues Passwort lautet: {password}", "Kennwort={password}"),
        "fr": ("mot de passe wifi {password}",),
        "es": ("mi clave es {password}",),
    },
    "date_of_birth": {
        "en": ("Applicant, born {date}, single", "d.o.b.: {date}", "birth date {date}"),
        "de": ("Kind, geb. am {date}", "geboren wurde sie am {date}", "Geburtsdatum des Kindes: {date}"),
        "fr": ("Date naissance {date}", "elle est née le {date}"),
        "es": ("nacido el día {date}", "f. nacimiento: {date}"),
    },
    "address": {
        "en": (
            "Our flat is at {address}",
            "I just bought a house, {address}",
            "Return address: {name}, {address}",
            "send someone to {address} tomorrow",
        ),
        "de": (
            "Meine Wohnung: {address}",
            "{name}, {address}, Mieter seit 2019",
            "Bitte an {address} schicken",
            "Zuhause ist {address}",
        ),
        "fr": ("mon appartement, {address}", "envoyez le colis à {name}, {address}"),
        "es": ("mi casa está en {address}", "{name} reside en {address}"),
    },
    "health": {
        "en": (
            "{name} was hospitalised with {health}.",
            "My boss has {health} and hides it.",
            "How do I tell my kids that I have {health}?",
            "Diagnosis for {name}: {health}",
        ),
        "de": (
            "{name} kam mit {health} ins Krankenhaus.",
            "Wie sage ich meinen Kindern, dass ich {health} habe?",
            "Diagnose {name}: {health}",
            "Meine Oma hatte {health}.",
        ),
        "fr": ("{name} a été hospitalisée pour {health}.", "Mon fils a {health}, que faire ?"),
        "es": ("{name} ingresó por {health}.", "Mi madre tuvo {health}."),
    },
    "person": {
        "en": (
            "Ask {name} for the keys.",
            "{name} is divorcing.",
            "Dear Mrs {name}, your claim was refused.",
            "Reviewer: {name}, score 2 of 5",
        ),
        "de": (
            "Frag bitte {name}.",
            "Sehr geehrter Herr {name}, Ihr Antrag ist abgelehnt.",
            "{name} hat die Probezeit nicht bestanden.",
        ),
        "fr": ("Demande à {name}.", "Chère Madame {name}, votre dossier est refusé."),
        "es": ("Pregunta a {name}.", "Estimado señor {name}: su solicitud fue denegada."),
    },
    "obfuscated": {
        "en": (
            "email me: {spelled_email}",
            "phone {zero:phone}",
            "card {cyrillic:card}",
            "IBAN {percent:iban}",
            "raw {base64:phone}",
            "{wide:email}",
            "pay {broken:card} now",
            "to {broken:email}",
        ),
        "de": ("Mail an {spelled_email}", "Handy {zero:phone}", "Ausweis {wide:passport}"),
    },
}
