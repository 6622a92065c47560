#!/bin/sh
# The report in a real browser: browser.sh SNELLEN. It fits a phone, asks for nothing from elsewhere, and holds its parts.
# Exit 77 = no model or no browser.
browser=$(command -v chromium || command -v google-chrome) || { echo 'SKIPPED: no chromium'; exit 77; }
rm -rf report-browser
"$1" checkup smollm2 --only collapse -o report-browser --db report-browser.db -q 2> browser.err || {
  cat browser.err
  grep -q 'models get' browser.err && echo 'SKIPPED: smollm2 is not there' && exit 77
  exit 1
}
page=report-browser/index.html
grep -Eq '(src|href)="(https?:)?//' "$page" && { echo 'the page asks for something from elsewhere'; exit 1; }
# A script of ours, in a copy, writes what the browser measured into the title.
sed 's|</body>|<script>document.title = "width " + document.documentElement.scrollWidth + " figures " + document.querySelectorAll("figure svg").length + " unnamed " + document.querySelectorAll("figure [role=img]:not([aria-label])").length</script></body>|' \
  "$page" > report-browser/measured.html
# Headless windows are at least 500 wide; a frame of 360 is a phone.
printf '<iframe id="f" width="360" height="800" src="measured.html"></iframe><script>f.onload = () => document.title = f.contentDocument.title</script>' \
  > report-browser/phone.html
"$browser" --headless --no-sandbox --disable-gpu --allow-file-access-from-files --virtual-time-budget=5000 \
  --dump-dom "file://$PWD/report-browser/phone.html" > browser.dom 2> browser.log
title=$(sed -n 's|.*<title>\(width[^<]*\)</title>.*|\1|p' browser.dom)
echo "$title"
set -- $title
[ "$1" = width ] && [ "$2" -le 360 ] && [ "$4" -ge 5 ] && [ "$6" -eq 0 ]
