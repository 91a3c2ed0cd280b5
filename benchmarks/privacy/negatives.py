"""Texts that hold nothing private and look as if they did, per class."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from typing import Final
from uuid import UUID

from benchmarks.privacy.values import Values


def _uuid(values: Values) -> str:
    return str(UUID(bytes=values.random.randbytes(16)))


def _sha(values: Values) -> str:
    return sha256(values.random.randbytes(8)).hexdigest()


def _version(values: Values) -> str:
    draw = values.random.randint
    return f"{draw(0, 19)}.{draw(0, 30)}.{draw(256, 9999)}.{values.digits(2)}"


Maker = Callable[[Values], str]

NEGATIVES: Final[dict[str, tuple[Maker, ...]]] = {
    "identifiers": (
        lambda v: f"request {_uuid(v)} took 31 ms, digest {_sha(v)}",
        lambda v: f"git checkout {_sha(v)[:40]} && make build-{v.digits(6)}",
        lambda v: f"app {_version(v)} runs on kernel 6.{v.digits(1)}.{v.digits(2)}",
        lambda v: f"updated_at: {1_600_000_000 + int(v.digits(8))}, revision {v.digits(9)}",
        lambda v: f'"etag": "{_sha(v)[:32]}", "build": "{_version(v)}"',
    ),
    "trade numbers": (
        lambda v: f"Order {v.digits(10)} left the warehouse, tracking {v.digits(12)}.",
        lambda v: f"Die Bestellung {v.digits(9)} ist unterwegs (Sendung {v.digits(20)}).",
        lambda v: (
            f"ISBN 978-3-{v.digits(5)}-{v.digits(3)}-{v.digits(1)}, DOI 10.{v.digits(4)}/abc.{v.digits(6)}"
        ),
        lambda v: f"Artikel {v.digits(3)}-{v.digits(4)}-{v.digits(2)}, EAN 40{v.digits(11)}",
        lambda v: f"facture n° {v.digits(7)}, référence {v.digits(3)}.{v.digits(3)}.{v.digits(3)}",
        lambda v: f"Ticket #{v.digits(6)}: printer on floor 3 is offline",
    ),
    "placeholders": (
        lambda v: 'export API_KEY="YOUR_API_KEY"  # replace me',
        lambda v: "password: ********\ntoken: <token>\nsecret: ${SECRET}",
        lambda v: "Use sk-xxxxxxxxxxxxxxxxxxxxxxxx as the key in the docs.",
        lambda v: "db_password = os.environ['DB_PASSWORD']",
        lambda v: "Write to jane.doe@example.com or admin@example.org.",
        lambda v: "Name: ________  Geburtsdatum: __.__.____  IBAN: ________",
        lambda v: "def login(username: str, password: str) -> Token: ...",
        lambda v: "-----BEGIN PRIVATE KEY-----\n...\n-----END PRIVATE KEY-----",
    ),
    "local addresses": (
        lambda v: (
            f"ping 10.{v.random.randint(0, 255)}.3.{v.random.randint(1, 254)} "
            f"and 192.168.1.{v.random.randint(1, 254)}"
        ),
        lambda v: "bind to 127.0.0.1:9000, upstream 172.17.0.2, docs use 203.0.113.9 and 2001:db8::1",
        lambda v: "Set the DNS server to 8.8.8.8 or 1.1.1.1.",
    ),
    "science": (
        lambda v: "\n".join(
            f"{v.random.random():.6f}  {v.random.random() * 1e6:.3f}  {v.digits(5)}" for _ in range(6)
        ),
        lambda v: (
            f"The residual fell to {v.random.random():.9f} after {v.digits(6)} iterations "
            f"(p < 0.001, n = {v.digits(4)})."
        ),
        lambda v: f"Die Messung ergab {v.digits(3)},{v.digits(4)} nm bei {v.digits(2)} °C.",
        lambda v: (
            f"x,y,z\n{v.digits(8)},{v.digits(10)},{v.digits(9)}\n{v.digits(8)},{v.digits(10)},{v.digits(9)}"
        ),
    ),
    "technical": (
        lambda v: "How do I merge two dicts in Python without losing keys?",
        lambda v: (
            "Warum ist meine Postgres-Abfrage mit LEFT JOIN so langsam? "
            "Der Index auf created_at wird nicht benutzt."
        ),
        lambda v: "Explique la différence entre un mutex et un sémaphore.",
        lambda v: "¿Cómo ordeno una lista de objetos por dos campos en Java?",
        lambda v: "SELECT name, email, phone FROM customers WHERE id = ?;",
        lambda v: "class User(BaseModel):\n    name: str\n    email: EmailStr\n    password: SecretStr",
        lambda v: (
            "The Address class needs a street, a city and a postal code field; "
            "validate the phone number with a regex."
        ),
        lambda v: "Summarise the attached quarterly report in five bullet points for the board.",
    ),
    "medicine": (
        lambda v: "Diabetes mellitus is treated with diet, metformin and, later, insulin.",
        lambda v: "Die Leitlinie empfiehlt bei Bluthochdruck zunächst eine Änderung des Lebensstils.",
        lambda v: "L'épilepsie touche environ 1 % de la population.",
        lambda v: "La esclerosis múltiple es una enfermedad autoinmune.",
        lambda v: "In the trial, patients with breast cancer received the drug for 12 weeks.",
        lambda v: "What are typical side effects of sertraline?",
    ),
    "compounds": (
        lambda v: (
            "Die Kraftfahrzeughaftpflichtversicherung und das Arbeitszeitgesetz regeln verschiedene Dinge."
        ),
        lambda v: "Der Fischer und der Müller trafen sich am Markt; der Koch briet Zander.",
        lambda v: "Nach dem Bauer-Verfahren wird der Wert mit dem Richter-Koeffizienten multipliziert.",
    ),
    "companies": (
        lambda v: "The head office of Initech Ltd is at 12 Market Street, open to visitors.",
        lambda v: "Die Stadtverwaltung, Rathausplatz 1, ist montags geschlossen.",
        lambda v: "Ring the freephone line 0800 123 4567 or mail service@initech.io.",
        lambda v: "Le musée du Louvre se trouve rue de Rivoli à Paris.",
        lambda v: "Bosch and Siemens published their annual figures in Munich.",
    ),
    "public figures": (
        lambda v: "Ludwig van Beethoven wrote nine symphonies; the last was first played in 1824.",
        lambda v: "Konrad Zuse baute 1941 den ersten programmgesteuerten Rechner.",
        lambda v: "Simone de Beauvoir publie Le Deuxième Sexe en 1949.",
        lambda v: "Gabriel García Márquez recibió el Nobel en 1982.",
        lambda v: "Sherlock Holmes and Doctor Watson live in Baker Street.",
        lambda v: "In which year did Ada Lovelace publish her notes on the Analytical Engine?",
    ),
    "dates and rooms": (
        lambda v: f"The workshop is on {v.random.randint(1, 28)} May 2026 at 10:30 in room {v.digits(3)}.",
        lambda v: f"Die Frist endet am {v.random.randint(1, 28):02d}.09.2026 um 12 Uhr.",
        lambda v: "Le concert commence à 20h le 3 juin 2026.",
        lambda v: "Release notes 2026-03-14: fixed 27 bugs, 1,204 tests pass.",
    ),
}

FILLER: Final = {
    "en": (
        "The build finished without warnings.",
        "Please keep the answer short.",
        "The table below lists the settings and their defaults.",
        "Water boils at a lower temperature on a mountain.",
    ),
    "de": (
        "Der Vorgang ist abgeschlossen.",
        "Bitte antworte in zwei Sätzen.",
        "Die Tabelle zeigt die Einstellungen und ihre Vorgaben.",
        "Im Herbst fallen die Blätter von den Bäumen.",
    ),
    "fr": (
        "La procédure est terminée.",
        "Merci de répondre brièvement.",
        "Le tableau suivant présente les réglages.",
        "En automne, les feuilles tombent.",
    ),
    "es": (
        "El proceso ha terminado.",
        "Responde con brevedad, por favor.",
        "La tabla muestra los ajustes.",
        "En otoño caen las hojas.",
    ),
}
