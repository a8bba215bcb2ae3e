#!/bin/sh
# An argument of remove comes from dpkg, of 0 from rpm; upgrades have others.
set -e
case "$1" in
remove | 0)
	if [ -d /run/systemd/system ]; then
		systemctl stop truefoundry_exporter-key.path truefoundry_exporter.service
	fi
	if command -v systemctl >/dev/null; then
		systemctl --quiet disable truefoundry_exporter-key.path truefoundry_exporter.service
	fi
	;;
esac
