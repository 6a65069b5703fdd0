# libsodium and wolfSSL, static, under build/deps: built once, again when this file changes. Sourced by ./dev.
#
# Where a source archive comes from, first that serves:
#   1. the file that P2PD_SODIUM_SRC or P2PD_WOLFSSL_SRC names
#   2. build/deps/archives, where an earlier run put it after checking
#   3. the source package of a newer suite of this machine's own distribution; apt checks its signature
#   4. upstream's release archive
# An archive is accepted when it has the pinned SHA-256, or is as new as the pinned one and apt vouches for it.

deps=$PWD/build/deps

declare -A dep_version=([libsodium]=1.0.22 [wolfssl]=5.9.2)
declare -A dep_sha256=(
	[libsodium]=5838bb0c3da6148c24ebe531d1ed1297de9a87aea77d426bcd99f289e681631c
	[wolfssl]=2f4ef3d4fd387a9b3191d36a6316d69116c46ff69bb9583b6c82b36d7b8ca114
)
declare -A dep_url=(
	[libsodium]=https://github.com/jedisct1/libsodium/archive/refs/tags/1.0.22-RELEASE.tar.gz
	[wolfssl]=https://github.com/wolfSSL/wolfssl/archive/refs/tags/v5.9.2-stable.tar.gz
)
declare -A dep_given=([libsodium]=${P2PD_SODIUM_SRC:-} [wolfssl]=${P2PD_WOLFSSL_SRC:-})

# No -g: nobody steps through these, and it halves the build.
dep_cflags='-O2 -fstack-protector-strong -fstack-clash-protection'
dep_configure="--prefix=$deps --disable-shared --enable-static --with-pic --disable-dependency-tracking --quiet"

build_deps() {
	local name
	for name in libsodium wolfssl; do
		dep_is_built $name || dep_build $name
	done
	rm -rf "$deps"/apt-*
}

# --- source archives ---

sha256_of() {
	sha256sum "$1" | cut -d' ' -f1
}

is_pinned() {
	[[ -f $2 && $(sha256_of "$2") == "${dep_sha256[$1]}" ]]
}

# libsodium_1.0.22.orig.tar.gz, wolfssl-5.9.2-stable.tar.gz -> 1.0.22, 5.9.2
version_of() {
	basename "$1" | grep -oE '[0-9]+(\.[0-9]+)+' | head -1
}

is_new_enough() {
	local version
	version=$(version_of "$2")
	[[ -n $version && $(printf '%s\n' "${dep_version[$1]}" "$version" | sort -V | head -1) == "${dep_version[$1]}" ]]
}

# Prints the path of a checked archive.
find_archive() {
	local name=$1 archive=$deps/archives/$1.tar.gz
	mkdir -p "$deps/archives"
	if [[ -n ${dep_given[$name]} ]]; then
		given_archive "$name"
	elif [[ -f $archive ]]; then
		echo "$archive"
	elif from_distribution "$name" "$archive" || from_upstream "$name" "$archive"; then
		echo "$archive"
	else
		die "no source of $name >= ${dep_version[$name]} could be had; name a file in ${given_variable[$name]}"
	fi
}

declare -A given_variable=([libsodium]=P2PD_SODIUM_SRC [wolfssl]=P2PD_WOLFSSL_SRC)

given_archive() {
	local name=$1 file=${dep_given[$1]}
	[[ -f $file ]] || die "${given_variable[$name]}: no such file: $file"
	if ! is_pinned "$name" "$file"; then
		is_new_enough "$name" "$file" || die "$file is neither $name ${dep_version[$name]} by its SHA-256 nor newer by name"
		echo "./dev: warning: $file is not the pinned $name ${dep_version[$name]}; using it since you named it" >&2
	fi
	echo "$file"
}

from_upstream() {
	local name=$1 out=$2 helper=/usr/lib/apt/apt-helper
	[[ -x $helper ]] || return 1
	say "Asking upstream for $name ${dep_version[$name]}" >&2
	$helper -qq -o APT::Sandbox::User= -o Acquire::Retries=2 download-file "${dep_url[$name]}" "$out.part" \
		"SHA256:${dep_sha256[$name]}" >&2 || return 1
	is_pinned "$name" "$out.part" && mv "$out.part" "$out"
}

# --- the distribution's source packages, by a private apt that leaves the machine's own sources alone ---

newer_suites() {
	. /etc/os-release
	case $ID in
	debian) echo testing unstable ;;
	ubuntu) echo devel ;;
	esac
}

# The machine's suites that tell its main archive: bookworm, but not bookworm-security.
main_suites() {
	. /etc/os-release
	echo "${VERSION_CODENAME:-stable} stable oldstable testing unstable sid"
}

# private_sources SUITE: that suite's source packages, from each archive that serves one of main_suites.
# Understands both deb822 (.sources) and one-line (.list) files; keeps the address and the key, nothing else.
private_sources() (
	shopt -s nullglob
	awk -v suite="$1" -v mains=" $(main_suites) " '
		function is_main(list,    i, n, a) {
			n = split(list, a, /[ \t]+/)
			for (i = 1; i <= n; i++)
				if (a[i] != "" && index(mains, " " a[i] " "))
					return 1
			return 0
		}
		function out(uris, key) {
			components = uris ~ /ubuntu/ || key ~ /ubuntu/ ? "main universe" : "main"
			printf "Types: deb-src\nURIs: %s\nSuites: %s\nComponents: %s\n", uris, suite, components
			if (key != "")
				printf "Signed-By: %s\n", key
			print ""
		}
		function end_stanza() {
			if (field["types"] ~ /deb/ && tolower(field["enabled"]) !~ /no|false|0/ && is_main(field["suites"]))
				out(field["uris"], field["signed-by"])
			delete field
			last = ""
		}
		FNR == 1 { end_stanza() }
		/^[ \t]*#/ { next }
		FILENAME ~ /\.sources$/ && /^[ \t]*$/ { end_stanza(); next }
		FILENAME ~ /\.sources$/ && /^[ \t]/ { field[last] = field[last] "\n" $0; next }
		FILENAME ~ /\.sources$/ {
			last = tolower(substr($0, 1, index($0, ":") - 1))
			field[last] = substr($0, index($0, ":") + 1)
			sub(/^[ \t]+/, "", field[last])
			next
		}
		$1 == "deb" {
			key = ""
			if (match($0, /signed-by=[^] \t]+/))
				key = substr($0, RSTART + 10, RLENGTH - 10)
			gsub(/\[[^]]*\]/, "")
			if (is_main($3))
				out($2, key)
		}
		END { end_stanza() }
	' /etc/apt/sources.list.d/*.sources /etc/apt/sources.list /etc/apt/sources.list.d/*.list /dev/null 2>/dev/null
)

# private_apt DIR SUITE: an apt configuration that knows only that suite's sources and touches only DIR.
private_apt() {
	local dir=$1
	mkdir -p "$dir/parts" "$dir/lists/partial" "$dir/cache/archives/partial"
	private_sources "$2" >"$dir/parts/newer.sources"
	[[ -s $dir/parts/newer.sources ]] || return 1
	cat >"$dir/apt.conf" <<-END
		#clear APT::Update::Pre-Invoke;
		#clear APT::Update::Post-Invoke;
		#clear APT::Update::Post-Invoke-Success;
		#clear DPkg::Post-Invoke;
		Dir::Etc::sourcelist "/dev/null";
		Dir::Etc::sourceparts "$dir/parts";
		Dir::Etc::preferencesparts "/dev/null";
		Dir::State::Lists "$dir/lists";
		Dir::Cache "$dir/cache";
		APT::Sandbox::User "";
		APT::Update::Error-Mode "any";
		Acquire::Languages "none";
		// A frozen mirror's index is old, not forged: its signature is checked, and the least version is ours to ask for.
		Acquire::Check-Valid-Until "false";
		Acquire::Retries "2";
	END
}

# The orig archive alone (--tar-only): what the distribution changes about it is not for us, and its other files come
# and go with each revision.
from_distribution() {
	local name=$1 out=$2 suite dir found
	for suite in $(newer_suites); do
		dir=$deps/apt-$suite
		[[ -d $dir ]] || fetch_index "$dir" "$suite" || continue
		rm -f "$dir"/*.tar.*
		(cd "$dir" && apt-get -qq -c apt.conf source --download-only --tar-only "$name" >&2) || continue
		found=$(find "$dir" -maxdepth 1 -name "${name}_*.orig.tar.*" | head -1)
		if [[ -n $found ]] && { is_pinned "$name" "$found" || is_new_enough "$name" "$found"; }; then
			mv "$found" "$out"
			return 0
		fi
	done
	return 1
}

fetch_index() {
	local dir=$1 suite=$2
	say "Asking the distribution's suite $suite for newer sources" >&2
	if ! private_apt "$dir" "$suite" || ! apt-get -qq -c "$dir/apt.conf" update >&2; then
		rm -rf "$dir"
		return 1
	fi
}

# --- building ---

# What the stamp must say for a library to count as built: this recipe, this machine, this archive.
dep_stamp() {
	local name=$1 given=${dep_given[$1]}
	sha256_of tests/dev/deps.sh
	uname -m
	[[ -z $given || ! -f $given ]] || sha256_of "$given"
}

dep_is_built() {
	[[ -f $deps/lib/lib${1#lib}.a ]] && dep_stamp "$1" | cmp -s - "$deps/$1.stamp"
}

dep_build() {
	local name=$1 archive log=$deps/$1.log
	mkdir -p "$deps"
	archive=$(find_archive "$name")
	say "Building $name from $(basename "$archive") (about a minute, once)"
	rm -rf "$deps/$name.stamp" "$deps/src/$name"
	mkdir -p "$deps/src/$name"
	tar -xf "$archive" -C "$deps/src/$name" --strip-components=1 --no-same-owner
	if ! (cd "$deps/src/$name" && "make_$name") >"$log" 2>&1; then
		tail -20 "$log"
		die "$name did not build: $log"
	fi
	dep_stamp "$name" >"$deps/$name.stamp"
}

make_libsodium() {
	./configure CFLAGS="$dep_cflags" $dep_configure &&
		make -s -j"$(jobs_allowed)" &&
		make -s install
}

# Only the library and its headers are made: the rest of the tree is test programs. Fortification stands apart because
# wolfSSL would write it into the options.h that its users include.
make_wolfssl() {
	autoreconf -fi &&
		./configure CFLAGS="$dep_cflags" $dep_configure $(wolfssl_options) &&
		make -s -j"$(jobs_allowed)" EXTRA_CFLAGS='-U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2' src/libwolfssl.la &&
		make -s install-libLTLIBRARIES install-nobase_includeHEADERS install-pkgconfigDATA
}

wolfssl_options() {
	case $(uname -m) in
	x86_64) echo --enable-intelasm --enable-sp-asm ;;
	aarch64) echo --enable-armasm --enable-sp-asm ;;
	esac
	cat <<-END
		--enable-sp --enable-sp-math-all
		--enable-curve25519 --enable-ed25519 --enable-blake2s --enable-mlkem
		--enable-keying-material --enable-session-ticket --enable-sni --enable-alpn
		--enable-certgen --enable-certreq --enable-keygen
		--disable-tlsv12 --disable-oldtls --disable-examples --disable-crypttests --disable-benchmark
	END
}
