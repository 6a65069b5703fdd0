# Packages of Debian and Ubuntu: what is missing is installed, nothing else. Sourced by ./dev.

# A|B: A where the distribution has it, else B.
packages_build='gcc libc6-dev make cmake ninja-build pkg-config autoconf automake libtool ca-certificates
	libuv1-dev libyaml-dev libcmocka-dev libprotobuf-c-dev protobuf-c-compiler libllhttp-dev|libhttp-parser-dev
	libjansson-dev libnl-route-3-dev libminiupnpc-dev libnatpmp-dev libsqlite3-dev'
# What the demonstration uses; daemons of others are among the tests' packages only.
packages_demo='nftables iproute2 iputils-ping netbase jq iperf3 procps conntrack python3'
packages_test='clang libclang-rt-dev wireguard-go wireguard-tools iperf3 nftables iproute2 iputils-ping netbase jq tcpdump
	procps python3 curl coturn miniupnpd stun-client conntrack tinyproxy nginx libnginx-mod-stream openssl
	haproxy socat iptables ufw prometheus'
packages_bench='fastd valgrind openssh-server'
packages_lint='clang-format clang-tidy cppcheck'

die() {
	echo "./dev: $*" >&2
	exit 1
}

say() {
	echo "== $*"
}

as_root() {
	if ((EUID == 0)); then
		"$@"
	else
		command -v sudo >/dev/null || die "this needs root, and there is no sudo: $*"
		sudo "$@"
	fi
}

jobs_allowed() {
	echo "${P2PD_JOBS:-$(nproc)}"
}

is_installed() {
	[[ $(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null) == installed ]]
}

can_install() {
	[[ -n $(apt-cache madison "$1" 2>/dev/null) ]]
}

# Prints the entries of a package list of which no alternative is installed.
missing_of() {
	local entry name
	for entry in $1; do
		for name in ${entry//|/ }; do
			is_installed "$name" && continue 2
		done
		echo "$entry"
	done
}

# Prints the first alternative that the distribution has.
choose() {
	local name
	for name in ${1//|/ }; do
		can_install "$name" && break
	done
	echo "$name"
}

# need_packages GROUP...: the network is asked only when something is missing.
need_packages() {
	local group list missing=() names=() entry
	for group in "$@"; do
		list=packages_$group
		mapfile -t -O ${#missing[@]} missing < <(missing_of "${!list}")
	done
	((${#missing[@]})) || return 0
	command -v apt-get >/dev/null || die "no apt here; please install the like of: ${missing[*]}"
	say "Installing ${missing[*]}"
	as_root apt-get update -qq || echo "apt-get update failed; trying with the lists that are here"
	for entry in "${missing[@]}"; do
		names+=("$(choose "$entry")")
	done
	# Tests start the daemons that they need: being installed is no reason to run (systemd then starts nothing).
	as_root env DEBIAN_FRONTEND=noninteractive SYSTEMD_OFFLINE=1 apt-get install -y -qq --no-install-recommends \
		-o Dpkg::Use-Pty=0 "${names[@]}" >build-packages.log 2>&1 || {
		tail -20 build-packages.log
		die "apt-get could not install: ${names[*]}"
	}
	rm -f build-packages.log
}
