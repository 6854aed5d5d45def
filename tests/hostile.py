"""Texts that a page must show as they are, and never run, load or be torn by."""

HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "</text></svg><script>alert(2)</script>",
    "</style><style>body{display:none}</style>",
    "'-alert(3)-' onmouseover=alert(4) {{ 7*7 }} {% raw %} &lt;b&gt;",
    "<!-- <plaintext> ]]> <?php ?>",
    "javascript:alert(5)",
    "مرحبا بالعالم \u202e نص من اليمين \u2066",
    "w" * 900,
    "👩‍👩‍👧‍👦🏳️‍🌈 Zalgo ǧ͖͓́́ $x^2$ $",
    "line one\nline two\r\nline three",
    "\x00 nothing, \x1b[31m red, \ufffe",
)
"""The last one holds what neither HTML nor XML can."""
LABEL = '<script>alert("label")</script>$_'
"""A label in the same vein; one that begins with an underscore is left out by some drawing libraries."""
