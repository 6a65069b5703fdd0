# What ./dev bench needs beyond the programs: the VPNs that it measures against, and p2pd with its cipher off. Sourced by ./dev.

contenders=$PWD/build/bench

run_bench() {
	need_packages build test bench
	build_deps
	case ${1:-data} in
	data)
		fetch_contenders
		build_plain
		;;
	esac
	run_as_root test tests/bench/run "$@"
}

# Newer than what a stable distribution has, and unpacked beside: nothing of it is installed. What is there stays, so
# that later runs compare with the same; remove build/bench to have the newest again.
fetch_contenders() {
	local name dir=$contenders/apt
	for name in wireguard-go nebula; do
		[[ -x $contenders/$name/usr/bin/$name ]] && continue
		contenders_index "$dir" || echo "the newest suite cannot be reached"
		fetch_contender "$dir" $name || echo "$name cannot be had: it will be left out"
	done
	rm -rf "$dir"
}

# private_apt knows source packages; here it is the same archives' binary ones.
contenders_index() {
	local dir=$1 suite
	[[ ! -d $dir ]] || return 0
	suite=$(newer_suites)
	suite=${suite##* }
	say "Asking the distribution's suite $suite for other VPNs to compare with"
	private_apt "$dir" "$suite" || return 1
	sed -i 's/^Types: deb-src$/Types: deb/' "$dir/parts/newer.sources"
	apt-get -qq -c "$dir/apt.conf" update
}

fetch_contender() {
	local dir=$1 name=$2 package
	rm -rf "${contenders:?}/$name"
	(cd "$dir" && apt-get -qq -c apt.conf download "$name" >/dev/null) || return 1
	package=$(find "$dir" -maxdepth 1 -name "${name}_*.deb")
	dpkg -x "$package" "$contenders/$name"
	dpkg-deb -f "$package" Version >"$contenders/$name/version"
}

# What of the time is the cipher's, is seen by leaving it out: a program for this alone.
build_plain() {
	say "Building p2pd with its cipher off, for comparison, in build/plain"
	configure build/plain -DP2PD_BENCH_PLAIN=ON
	make_in build/plain p2pd
}
