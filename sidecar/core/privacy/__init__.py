"""The privacy gate: what may leave this machine, and how that is found out.

``gate.py`` decides and mints the permit. ``detector.py`` gives it verdicts. One scan goes like this:

    normalise      fold tricks of writing; one character is one byte from here on
    engines        one pass of hyperscan (or RE2) over the bytes says where triggers end
    validators     ``mailbox``, ``phone``, ``internet``, ``payment``, ``identity``, ``credentials``,
                   ``passwords``, ``address``, ``names`` look at those places, and nowhere else
    ties           a health term near a person, a name near a private fact
    decoding       percent, base64, hex, escapes and broken lines are unwrapped and scanned again
    detector       chunks and their cache, neighbouring texts read together, the budget, the verdict

What is promised, per class
---------------------------
*By check digit or shape* (SENSITIVE): e-mail, phone, IBAN, card, national identifiers of DE, AT, CH, GB,
US, FR, ES, IT and NL, health insurance numbers, public IP addresses, API keys of some sixty kinds, private
keys, JSON web tokens. Where the check digit says little (nine or eleven bare digits) a cue must stand near.
*By a cue* (SENSITIVE): passports, bank accounts, patient numbers, licence plates, dates of birth, passwords,
secrets that are random enough. The cues are English, German, French and Spanish, some Italian and Dutch.
*By context* (SENSITIVE or UNKNOWN): street addresses, a named person with a private fact, health with whose
it is. A street address of an office is let pass.
*Names* (UNKNOWN): a known given name with a surname, or a form of address with a name. Public figures and
credits under works are let pass. ``declared_public`` relaxes this layer and no other.

What is not promised
--------------------
Names that are on no list and come without a form of address; addresses and health told in words that
the lists lack; languages but the six; what two facts say only together; pictures. Hence the
third state: in strict mode only CLEAN leaves. ``python -m benchmarks.privacy`` measures all of it.

Mailboxes of offices (``info@``), documentation hosts and addresses (RFC 2606, RFC 5737, RFC 3849),
placeholders and published test numbers are not findings.
"""
