"""The report's style sheet: light and dark, desktop and phone, screen and paper."""

CSS = """
:root{--bg:#fff;--ink:#1a1a1a;--muted:#5c5c5c;--line:#d9d9d9;--card:#f5f6f8;--good:#0a5ea8;
--bad:#a3340b;--shade:rgba(0,0,0,.3);--measured:#0a5ea8;--simulated:#6b2c6f;--counted:#1f6b3a}
@media (prefers-color-scheme:dark){:root{--bg:#15171a;--ink:#e8e8e8;--muted:#a5a8ad;--line:#3a3e44;
--card:#1e2125;--good:#7ab8f5;--bad:#ff9d75;--shade:rgba(255,255,255,.35);--measured:#2f7fc9;--simulated:#9a5aa0;
--counted:#3d8f5a}}
*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%}
body{margin:0;background:var(--bg);color:var(--ink);
font:16px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif}
main{max-width:72rem;margin:0 auto;padding:1.5rem 1.25rem 3rem}
h1{font-size:1.7rem;line-height:1.25;margin:.2rem 0 .8rem;overflow-wrap:anywhere}
h2{font-size:1.15rem;margin:2.2rem 0 .6rem;padding-bottom:.25rem;
border-bottom:1px solid var(--line)}
p,ul{max-width:62rem}
ul{padding-left:1.2rem}li{margin:.25rem 0;overflow-wrap:anywhere}
.answer{font-size:1.12rem;margin:.5rem 0}
.badge{display:inline-block;color:#fff;background:var(--measured);border-radius:.3rem;
padding:.15rem .6rem;font-weight:600;font-size:.9rem;margin:0 .3rem .3rem 0}
.badge.simulated{background:repeating-linear-gradient(45deg,var(--simulated) 0 10px,#552259 10px
20px)} .badge.counted{background:var(--counted)}
.scroll{overflow-x:auto;-webkit-overflow-scrolling:touch}
.scroll.table{background:linear-gradient(90deg,var(--bg) 40%,transparent) 0 0/2.5rem 100% local
no-repeat,linear-gradient(270deg,var(--bg) 40%,transparent) 100% 0/2.5rem 100% local no-repeat,
linear-gradient(90deg,var(--shade),transparent) 0 0/.9rem 100% scroll no-repeat,
linear-gradient(270deg,var(--shade),transparent) 100% 0/.9rem 100% scroll no-repeat}
.hint{display:none;margin:.4rem 0 .2rem;color:var(--muted);font-size:.8rem}
figure .hint{color:#5c5c5c}
table{border-collapse:collapse;font-size:.82rem;font-variant-numeric:tabular-nums;margin:.4rem 0}
th,td{padding:.32rem .5rem;text-align:right;vertical-align:top;border-bottom:1px solid var(--line)}
td{white-space:nowrap}
th[scope=row],thead th:first-child{text-align:left;min-width:8.5rem;max-width:20rem}
th[scope=row]{font-weight:400}
thead th{color:var(--muted);font-weight:600;vertical-align:bottom;border-bottom:2px solid
var(--line)}
.plain td:last-child,.plain thead th:last-child,.tib td:last-child,.tib thead th:last-child{
text-align:left;white-space:normal;min-width:9rem}
.tib td:nth-child(2),.tib thead th:nth-child(2){text-align:left}
.cases td:nth-child(2),.cases thead th:nth-child(2){text-align:left;min-width:5.5rem}
.cases td{white-space:normal}
.ledger td{white-space:normal} .ledger thead th+th{min-width:5.5rem}
tr.faster td:nth-child(2){color:var(--good);font-weight:700}
tr.slower td:nth-child(2){color:var(--bad);font-weight:700}
tr.quiet td:nth-child(2){color:var(--muted)}
@media (min-width:48rem){.tib th[scope=row]{white-space:nowrap}}
h3{font-size:1rem;margin:1.2rem 0 .2rem}
.further{font-size:.95rem;margin:.6rem 0}
figure{margin:1rem 0;background:#fff;border:1px solid
var(--line);border-radius:.4rem;padding:.5rem} figure
img{display:block;max-width:100%;height:auto} pre{background:var(--card);border:1px
solid var(--line);border-radius:.4rem;padding:.8rem; overflow-x:auto;font-size:.86rem}
summary{cursor:pointer;color:var(--muted)}
footer{margin-top:3rem;color:var(--muted);font-size:.85rem} @media
(max-width:40rem){main{padding:1rem .8rem 2rem}h1{font-size:1.35rem}
.answer{font-size:1.02rem}figure{padding:.2rem}figure img{max-width:52rem}
} @media
(max-width:48rem){.hint{display:block}} @media
print{body{font-size:11pt}main{max-width:none;padding:0}.scroll{overflow:visible}.hint{display:none}
figure,tr{break-inside:avoid}figure img{max-width:100%}details>*{display:block}}
"""
