#!/bin/sh
# After a removal. Conversations in /var/lib/vega-proxy stay.
set -e
if [ -d /run/systemd/system ]; then
    systemctl daemon-reload
fi
