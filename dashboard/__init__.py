"""The pages under ``/dashboard``, and how to add one.

A page is a loader, a frozen context and a template; nothing else decides what it shows:

1. ``dashboard/pages/<name>.py``: a frozen Struct with a docstring, ``async def load(services, ask)`` that
   returns one, and ``PAGE = Page(...)``.
2. ``templates/pages/<name>.html``, which extends ``page.html`` and finds the Struct as ``page``. A test
   holds that it uses exactly what the Struct has.
3. A row in ``dashboard/pages/__init__.py``.

What follows changes live is a fragment, ``templates/fragments/_<part>.html``: one element whose id is the
part's name with hyphens, named in ``PAGE.live``. It is sent to every reader alike, so it knows no session and
holds no form. What changes something is an ``Action``: a form with the session's CSRF token, and a
function that acts through ``sidecar.services`` and raises ``Refused``.

``router`` serves all this, ``auth`` says who is looking, ``live`` keeps open pages current, ``page`` renders,
``assets`` finds and serves the files in ``static/``, ``wording`` puts numbers and foreign texts into words.
"""
