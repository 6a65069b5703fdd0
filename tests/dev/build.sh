# The build folders: build (what people run), build/asan (the tests' second run), build/fuzz, build/lint. Sourced by ./dev.

# configure DIR CMAKE-OPTION...: quiet while it goes well; cmake is asked again only by ninja, when its inputs change.
configure() {
	local dir=$1
	shift
	mkdir -p "$dir"
	[[ -f $dir/build.ninja ]] || loud_on_failure "$dir/configure.log" cmake -G Ninja -S . -B "$dir" "$@"
}

loud_on_failure() {
	local log=$1
	shift
	"$@" >"$log" 2>&1 || {
		sed -n '/^FAILED\|rror/,$p' "$log" | head -60
		die "failed ($log): $*"
	}
}

make_in() {
	local dir=$1
	shift
	loud_on_failure "$dir/make.log" ninja -C "$dir" -j"$(jobs_allowed)" "$@"
}

build_programs() {
	say "Building the programs in build/bin"
	configure build
	make_in build
}

build_asan() {
	say "Building again with the address and undefined-behaviour sanitizers"
	configure build/asan -DP2PD_SANITIZE=ON
	make_in build/asan
}

build_fuzz() {
	say "Building the fuzz targets"
	configure build/fuzz -DP2PD_FUZZ=ON -DCMAKE_C_COMPILER=clang
	make_in build/fuzz fuzzers
}
