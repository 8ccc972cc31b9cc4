"""Tells the uploader what became of a film: one mail in the outbox for each job, however often the record comes."""

from __future__ import annotations

from email.message import EmailMessage
from typing import Any

from places import OUTBOX, film_of, write


def notify(record: dict[str, Any], _context: Any) -> None:
    """`record` is what a destination gets: AWS's invocation record."""
    job, outcome = record["requestContext"]["requestId"], record["requestContext"]["condition"]
    film = film_of(record["requestPayload"])
    mail = EmailMessage()
    mail["To"], mail["Message-ID"] = "studio@films.example", f"<{job}@films.example>"
    if outcome == "Success":
        mail["Subject"] = f"{film} is ready"
        mail.set_content(f"{record['responsePayload']['frames']} frames were transcoded.\n")
    else:
        mail["Subject"] = f"{film} could not be transcoded"
        mail.set_content(f"{outcome}: {(record.get('responsePayload') or {}).get('errorMessage', '')}\n")
    write(OUTBOX / f"{job}.eml", bytes(mail))
