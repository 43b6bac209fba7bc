"""How a report looks: light and dark, from a phone to paper."""

STYLE = """
:root{color-scheme:light dark;--paper:#fff;--ink:#1b1f24;--soft:#5b6470;--rule:#d9dee4;--wash:#f4f6f8;
--one:#2c6cb0;--two:#b85c00;--good:#1a7a45;--bad:#b3261e;--pale:#c7dbf0}
@media(prefers-color-scheme:dark){:root{--paper:#14171b;--ink:#e8eaed;--soft:#a0a8b3;--rule:#363c45;--wash:#1d2127;
--one:#7fb4ea;--two:#f0a44e;--good:#6fce97;--bad:#ff8a80;--pale:#2b4560}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.5 system-ui,sans-serif;
font-variant-numeric:tabular-nums}
main{max-width:860px;margin:0 auto;padding:32px 24px 64px}
h1{font-size:1.75rem;line-height:1.2;margin:0 0 4px}h2{font-size:1.2rem;margin:44px 0 8px}
h3{font-size:1rem;margin:24px 0 4px}
p{margin:6px 0;max-width:68ch}.soft,figcaption,dt{color:var(--soft)}
.soft,figcaption,.warn{font-size:.875rem}
.figures{display:grid;grid-template-columns:repeat(auto-fill,minmax(150px,1fr));gap:8px 24px;margin:20px 0 0;
padding:16px 0;border-top:1px solid var(--rule);border-bottom:1px solid var(--rule)}
.figures div{display:flex;flex-direction:column}.figures dt{font-size:.875rem;order:2;line-height:1.35}
.figures dd{margin:0;font-size:1.5rem;line-height:1.25}
.card{display:grid;grid-template-columns:minmax(96px,auto) 1fr;gap:2px 20px;margin:8px 0}
.card dd{margin:0;overflow-wrap:anywhere}
.scroll{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-size:.875rem;margin:10px 0}
th,td{padding:4px 0 4px 14px;text-align:right;border-bottom:1px solid var(--rule);white-space:nowrap;vertical-align:top}
th{font-weight:600}thead th{color:var(--soft);font-weight:400}
th:first-child,td:first-child{text-align:left;padding-left:0}.words{text-align:left}td.words{white-space:normal}
figure{margin:12px 0}figcaption{margin-top:4px;max-width:72ch}
svg{display:block;width:100%;height:auto;font-size:12px}svg text{fill:var(--ink)}
svg .small{fill:var(--soft);font-size:11px}
svg.narrow{display:none}
.one{fill:var(--one)}.two{fill:var(--two)}.pale{fill:var(--pale)}.wash{fill:var(--wash)}
.stroke{fill:none;stroke:var(--ink);stroke-width:1.5;stroke-linejoin:round}
.grid{stroke:var(--rule);stroke-width:1}.thin{stroke:var(--one);stroke-width:1.5}
.mark{stroke-width:2}.other{stroke:var(--two)}.dashed{stroke-dasharray:4 3}
.dots{fill:none;stroke:var(--one);stroke-linecap:round;stroke-opacity:.55}
.good{color:var(--good)}.bad{color:var(--bad)}.none{color:var(--soft)}.solid{stroke-opacity:1}
svg .good,svg .bad,svg .none{stroke:currentColor}
svg text.good,svg text.bad,svg text.none{fill:currentColor;stroke:none}
.warn{border-left:3px solid var(--two);padding:2px 0 2px 12px;margin:12px 0}.warn ul{margin:0;padding-left:18px}
details{margin:8px 0}summary{cursor:pointer}
pre{font-size:.75rem;white-space:pre-wrap;overflow-wrap:anywhere;margin:4px 0}
@media(max-width:640px){main{padding:20px 16px 40px}svg.wide{display:none}svg.narrow{display:block}
.figures{grid-template-columns:1fr 1fr}.card{grid-template-columns:36% 1fr;gap:4px 12px;font-size:.9rem}}
@media print{:root{--paper:#fff;--ink:#000;--soft:#444;--rule:#bbb;--wash:#f3f3f3;--one:#2c6cb0;--two:#b85c00;
--good:#1a7a45;--bad:#b3261e;--pale:#c7dbf0}body{font-size:10.5pt}main{max-width:none;padding:0}
figure,tr,.figures,.card div{break-inside:avoid}h2,h3{break-after:avoid}
svg.wide{display:block}svg.narrow{display:none}.scroll{overflow:visible}.screen{display:none}}
"""
