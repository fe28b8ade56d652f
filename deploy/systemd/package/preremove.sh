#!/bin/sh
# Before a removal; not before an upgrade, which dpkg calls "upgrade" and rpm 1.
set -e
case $1 in
remove | 0)
    if [ -d /run/systemd/system ]; then
        systemctl disable --now vega-proxy.service
    fi
    ;;
esac
