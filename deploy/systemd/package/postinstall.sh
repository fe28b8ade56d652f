#!/bin/sh
# After an installation or an upgrade. A service that runs is started anew, and
# drains before; whether it starts with the machine stays the administrator's choice.
set -e
if [ -d /run/systemd/system ]; then
    systemctl daemon-reload
    systemctl try-restart vega-proxy.service
fi
