# The tests. Every part appends lines `ok NAME`, `FAIL NAME: why` or `SKIP NAME: why` to one file of results, and the
# last line of all counts them. Sourced by ./dev.

results=$PWD/build/test-results
logs=$PWD/build/test-logs
test_timeout=600
lab_timeout=3000
short_fuzz_runs=20000
short_fuzz_seconds=15

test_all() {
	local part
	(($#)) || set -- unit asan layers lab fuzz
	for part in "$@"; do
		declare -F "test_part_$part" >/dev/null || die "no such part: $part (unit asan layers lab fuzz)"
	done
	start_results
	for part in "$@"; do
		"test_part_$part"
	done
	report
}

start_results() {
	mkdir -p build "$logs"
	: >"$results"
}

# record PREFIX [loud]: result lines from stdin into the file, under PREFIX. The screen sees all other lines, results
# that are not ok, and with `loud` the others too.
record() {
	local line
	while IFS= read -r line; do
		case $line in
		"ok "* | "FAIL "* | "SKIP "*)
			line="${line%% *} $1/${line#* }"
			echo "$line" >>"$results"
			[[ $line == ok* && ${2:-} != loud ]] || echo "    $line"
			;;
		*) echo "    $line" ;;
		esac
	done
}

passed_of() {
	grep -c "^ok $1/" "$results" || true
}

# Names what did not pass, then the one line that counts; fails if anything failed or nothing ran.
report() {
	local passed failed skipped
	passed=$(grep -c '^ok ' "$results" || true)
	failed=$(grep -c '^FAIL ' "$results" || true)
	skipped=$(grep -c '^SKIP ' "$results" || true)
	if ((skipped)); then
		echo
		echo "!!! $skipped SKIPPED, so not tested:"
		sed -n 's/^SKIP /    /p' "$results"
	fi
	if ((failed)); then
		echo
		echo "!!! $failed FAILED (logs: build/test-logs):"
		sed -n 's/^FAIL /    /p' "$results"
	fi
	((passed + failed)) || echo "!!! No test ran."
	echo
	echo "$passed passed, $failed failed, $skipped skipped"
	((failed == 0 && passed > 0))
}

# --- cmocka programs: tests/unit and tests/sim ---

test_part_unit() {
	build_programs
	run_programs unit build/bin
}

test_part_asan() {
	build_asan
	run_programs asan build/asan/bin
}

run_programs() {
	local part=$1 dir=$2 names
	names=$(find tests -path 'tests/unit/test_*.c' -o -path 'tests/sim/test_*.c' | sed 's|.*/||; s|\.c$||' | sort)
	say "Running the $part tests"
	rm -rf "${logs:?}/$part"
	mkdir -p "$logs/$part"
	export -f run_program outcomes
	export logs test_timeout
	xargs -r -P"$(jobs_allowed)" -I{} bash -c 'run_program "$@"' _ "$part" "$dir" {} <<<"$names"
	cat "$logs/$part"/*.outcome | record "$part"
	echo "    $(passed_of "$part") passed in $(wc -w <<<"$names") programs"
}

run_program() {
	local name=$3 program=$2/$3 log=$logs/$1/$3 rc=0
	UBSAN_OPTIONS=print_stacktrace=1 timeout "$test_timeout" "$program" >"$log.log" 2>&1 </dev/null || rc=$?
	outcomes "$name" "$rc" <"$log.log" >"$log.outcome"
}

# cmocka's own words to result lines, one a test. A test that began and never ended took the program down; a program
# that fails without a failed test (a leak found at exit, say) fails under its own name; 77 skips the whole program.
outcomes() {
	awk -v program="$1" -v rc="$2" '
		function say(word, name, why) { print word " " program "/" name (why == "" ? "" : ": " why); seen++ }
		/^\[ RUN      \] / { running = substr($0, 14) }
		running == "" { next }
		/\[       OK \] / { say("ok", running); running = "" }
		/\[  SKIPPED \] / { say("SKIP", running, "the test says that it cannot run here"); running = "" }
		/\[  FAILED  \] / { say("FAIL", running); failed++; running = "" }
		END {
			if (running != "") {
				say("FAIL", running, "ended by status " rc)
				failed++
			}
			if (rc == 77 && !seen)
				say("SKIP", "all", "the program says that it cannot run here")
			else if (rc != 0 && !failed)
				say("FAIL", "all", "status " rc)
			else if (rc == 0 && !seen)
				say("FAIL", "all", "ran no test")
		}'
}

# --- layers, lab ---

test_part_layers() {
	say "Checking the layers"
	if tests/layers.sh >"$logs/layers.log" 2>&1; then
		echo "ok layers"
	else
		cat "$logs/layers.log" >&2
		echo "FAIL layers"
	fi | record repository
}

test_part_lab() {
	local rc=0
	[[ -x tests/lab/run ]] || return 0
	if ((EUID != 0)); then
		find tests/lab -name 'test_*.sh' | sed 's|.*/test_|SKIP |; s|\.sh$|: needs root|' | sort | record lab
		return
	fi
	build_programs
	say "Running the lab: hosts and NATs in namespaces"
	LAB_TRIES=2 LAB_LOGS=$logs/lab timeout "$lab_timeout" tests/lab/run </dev/null 2>"$logs/lab.log" | tee -a "$logs/lab.log" |
		grep --line-buffered -v ' passed, ' | record lab loud || rc=$?
	if ((rc)) && ! grep -q '^FAIL lab/' "$results"; then
		echo "FAIL run: status $rc, see lab.log" | record lab
	fi
}

# --- fuzzing ---

fuzz_targets() {
	find tests -path 'tests/fuzz/fuzz_*.c' | sed 's|.*/||; s|\.c$||' | sort
}

test_part_fuzz() {
	[[ -n $(fuzz_targets) ]] || return 0
	build_fuzz
	say "Fuzzing each decoder briefly"
	fuzz_each "$short_fuzz_runs" "-max_total_time=$short_fuzz_seconds" $(fuzz_targets)
}

fuzz_long() {
	local target=${1:-} runs=${2:-1000000} targets
	targets=$(fuzz_targets)
	if [[ -n $target && $target != all ]]; then
		target=fuzz_${target#fuzz_}
		grep -qx "$target" <<<"$targets" || die "no such target: $target; there are:" $targets
		targets=$target
	fi
	start_results
	build_fuzz
	say "Fuzzing, $runs runs each"
	fuzz_each "$runs" "" $targets
	report
}

# fuzz_each RUNS LIMIT TARGET...
fuzz_each() {
	local runs=$1 limit=$2
	shift 2
	export -f fuzz_one
	export logs
	mkdir -p "$logs/fuzz"
	printf '%s\n' "$@" | xargs -r -P"$(jobs_allowed)" -I{} bash -c 'fuzz_one "$@"' _ {} "$runs" "$limit" |
		record fuzz loud
}

# The corpus stays under build/fuzz-corpus, so that a later run goes on where this one stopped.
fuzz_one() {
	local target=$1 runs=$2 limit=$3 corpus=build/fuzz-corpus/$1 log=$logs/fuzz/$1.log seeds=()
	mkdir -p "$corpus"
	[[ ! -d tests/fuzz/corpus/${target#fuzz_} ]] || seeds=("tests/fuzz/corpus/${target#fuzz_}")
	if "build/fuzz/bin/$target" "-runs=$runs" $limit -timeout=10 -rss_limit_mb=2048 -max_len=4096 \
		"-artifact_prefix=$logs/fuzz/$target-" "$corpus" "${seeds[@]}" >"$log" 2>&1 </dev/null; then
		echo "ok $target: $(sed -n 's/^Done \([0-9]*\) runs.*/\1/p' "$log" | tail -1) runs," \
			"$(grep -oE 'cov: [0-9]+' "$log" | tail -1)"
	else
		echo "FAIL $target: $(grep -m1 -E 'ERROR|SUMMARY|runtime error' "$log")"
	fi
}
