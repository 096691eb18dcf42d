# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_forebay_global_optspecs
    string join \n v/verbose q/quiet log-format= h/help V/version
end

function __fish_forebay_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_forebay_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_forebay_using_subcommand
    set -l cmd (__fish_forebay_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c forebay -n "__fish_forebay_needs_command" -l log-format -d 'How log lines are written [default: to the journal under systemd, as text to the error output elsewhere]' -r -f -a "text\t'For people: time, level, message, fields; with colours on a terminal unless NO_COLOR is set'
logfmt\t'`name=value` pairs that parsers of logfmt take'
json\t'A JSON object a line'
journald\t'Entries of the systemd journal, each field by its name: `journalctl EVENT=sink_down`'"
complete -c forebay -n "__fish_forebay_needs_command" -s v -l verbose -d 'Log more: -v for details, -vv for everything'
complete -c forebay -n "__fish_forebay_needs_command" -s q -l quiet -d 'Log warnings and errors only'
complete -c forebay -n "__fish_forebay_needs_command" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c forebay -n "__fish_forebay_needs_command" -s V -l version -d 'Print version'
complete -c forebay -n "__fish_forebay_needs_command" -f -a "run" -d 'Run the agent'
complete -c forebay -n "__fish_forebay_needs_command" -f -a "check" -d 'Check a configuration and say what is assumed; exit 0, 1 (problems) or 2 (cannot read)'
complete -c forebay -n "__fish_forebay_needs_command" -f -a "config" -d 'The configuration: every key, what counts, what was pushed; check, apply and roll back signed documents'
complete -c forebay -n "__fish_forebay_needs_command" -f -a "fleet" -d 'Change the configuration of many gateways: push a signed document, see what became of it, roll it out step by step'
complete -c forebay -n "__fish_forebay_needs_command" -f -a "sample-config" -d 'Write an example configuration, of all kinds or of some: `forebay sample-config mqtt eventhubs`'
complete -c forebay -n "__fish_forebay_needs_command" -f -a "tap" -d 'Print what a source brings, decoded, without touching the store'
complete -c forebay -n "__fish_forebay_needs_command" -f -a "decode" -d 'Print what a source makes of messages from the standard input'
complete -c forebay -n "__fish_forebay_needs_command" -f -a "send-test" -d 'Deliver one event and print what happens at each step: names, TCP, TLS, login, limits, outcome'
complete -c forebay -n "__fish_forebay_needs_command" -f -a "status" -d 'Ask the running agent how its sources and sinks are; exit 0, 1 (one needs attention) or 2 (no answer)'
complete -c forebay -n "__fish_forebay_needs_command" -f -a "doctor" -d 'Look for what breaks in the field, and say what to do; exit 0, 1 (something is bad) or 2 (cannot read)'
complete -c forebay -n "__fish_forebay_needs_command" -f -a "top" -d 'Watch the running agent on a terminal, once a second; q ends'
complete -c forebay -n "__fish_forebay_needs_command" -f -a "buffer" -d 'Look into a store, also while an agent runs: ls, show, export, verify; mend it: repair, trim'
complete -c forebay -n "__fish_forebay_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c forebay -n "__fish_forebay_using_subcommand run" -l config -d 'The configuration, as an option' -r -F
complete -c forebay -n "__fish_forebay_using_subcommand run" -l state -d 'Where the store is, instead of what the configuration says' -r -F
complete -c forebay -n "__fish_forebay_using_subcommand run" -l log-format -d 'How log lines are written [default: to the journal under systemd, as text to the error output elsewhere]' -r -f -a "text\t'For people: time, level, message, fields; with colours on a terminal unless NO_COLOR is set'
logfmt\t'`name=value` pairs that parsers of logfmt take'
json\t'A JSON object a line'
journald\t'Entries of the systemd journal, each field by its name: `journalctl EVENT=sink_down`'"
complete -c forebay -n "__fish_forebay_using_subcommand run" -s v -l verbose -d 'Log more: -v for details, -vv for everything'
complete -c forebay -n "__fish_forebay_using_subcommand run" -s q -l quiet -d 'Log warnings and errors only'
complete -c forebay -n "__fish_forebay_using_subcommand run" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c forebay -n "__fish_forebay_using_subcommand check" -l config -d 'The configuration, as an option' -r -F
complete -c forebay -n "__fish_forebay_using_subcommand check" -l wait -d 'How many seconds `--connect` waits for a reading of each source' -r
complete -c forebay -n "__fish_forebay_using_subcommand check" -l log-format -d 'How log lines are written [default: to the journal under systemd, as text to the error output elsewhere]' -r -f -a "text\t'For people: time, level, message, fields; with colours on a terminal unless NO_COLOR is set'
logfmt\t'`name=value` pairs that parsers of logfmt take'
json\t'A JSON object a line'
journald\t'Entries of the systemd journal, each field by its name: `journalctl EVENT=sink_down`'"
complete -c forebay -n "__fish_forebay_using_subcommand check" -l connect -d 'Try to reach what each source reads: brokers, ports, devices, files; and show one reading of each'
complete -c forebay -n "__fish_forebay_using_subcommand check" -l no-secrets -d 'Look up no secret: for a check on a machine that has none of them'
complete -c forebay -n "__fish_forebay_using_subcommand check" -s v -l verbose -d 'Log more: -v for details, -vv for everything'
complete -c forebay -n "__fish_forebay_using_subcommand check" -s q -l quiet -d 'Log warnings and errors only'
complete -c forebay -n "__fish_forebay_using_subcommand check" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c forebay -n "__fish_forebay_using_subcommand config; and not __fish_seen_subcommand_from keys schema show status history diff seal verify apply rollback help" -l log-format -d 'How log lines are written [default: to the journal under systemd, as text to the error output elsewhere]' -r -f -a "text\t'For people: time, level, message, fields; with colours on a terminal unless NO_COLOR is set'
logfmt\t'`name=value` pairs that parsers of logfmt take'
json\t'A JSON object a line'
journald\t'Entries of the systemd journal, each field by its name: `journalctl EVENT=sink_down`'"
complete -c forebay -n "__fish_forebay_using_subcommand config; and not __fish_seen_subcommand_from keys schema show status history diff seal verify apply rollback help" -s v -l verbose -d 'Log more: -v for details, -vv for everything'
complete -c forebay -n "__fish_forebay_using_subcommand config; and not __fish_seen_subcommand_from keys schema show status history diff seal verify apply rollback help" -s q -l quiet -d 'Log warnings and errors only'
complete -c forebay -n "__fish_forebay_using_subcommand config; and not __fish_seen_subcommand_from keys schema show status history diff seal verify apply rollback help" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c forebay -n "__fish_forebay_using_subcommand config; and not __fish_seen_subcommand_from keys schema show status history diff seal verify apply rollback help" -f -a "keys" -d 'Every key, as a page in Markdown'
complete -c forebay -n "__fish_forebay_using_subcommand config; and not __fish_seen_subcommand_from keys schema show status history diff seal verify apply rollback help" -f -a "schema" -d 'The JSON Schema, for editors and for checks in CI'
complete -c forebay -n "__fish_forebay_using_subcommand config; and not __fish_seen_subcommand_from keys schema show status history diff seal verify apply rollback help" -f -a "show" -d 'The configuration as it counts: the file, what it includes, and the pushed document over it'
complete -c forebay -n "__fish_forebay_using_subcommand config; and not __fish_seen_subcommand_from keys schema show status history diff seal verify apply rollback help" -f -a "status" -d 'What was pushed: in force, on trial, refused'
complete -c forebay -n "__fish_forebay_using_subcommand config; and not __fish_seen_subcommand_from keys schema show status history diff seal verify apply rollback help" -f -a "history" -d 'The configurations that were in force, the newest last'
complete -c forebay -n "__fish_forebay_using_subcommand config; and not __fish_seen_subcommand_from keys schema show status history diff seal verify apply rollback help" -f -a "diff" -d 'What changed between two generations; without numbers, by the last change'
complete -c forebay -n "__fish_forebay_using_subcommand config; and not __fish_seen_subcommand_from keys schema show status history diff seal verify apply rollback help" -f -a "seal" -d 'Put the signature of minisign at the end of a document, and print the whole'
complete -c forebay -n "__fish_forebay_using_subcommand config; and not __fish_seen_subcommand_from keys schema show status history diff seal verify apply rollback help" -f -a "verify" -d 'Check a document: who signed it, who it is for, whether this device could run it'
complete -c forebay -n "__fish_forebay_using_subcommand config; and not __fish_seen_subcommand_from keys schema show status history diff seal verify apply rollback help" -f -a "apply" -d 'Give a signed document to the agent of this device, and wait until it is on trial or refused'
complete -c forebay -n "__fish_forebay_using_subcommand config; and not __fish_seen_subcommand_from keys schema show status history diff seal verify apply rollback help" -f -a "rollback" -d 'Go back to the document before the one in force'
complete -c forebay -n "__fish_forebay_using_subcommand config; and not __fish_seen_subcommand_from keys schema show status history diff seal verify apply rollback help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c forebay -n "__fish_forebay_using_subcommand config; and __fish_seen_subcommand_from keys" -l log-format -d 'How log lines are written [default: to the journal under systemd, as text to the error output elsewhere]' -r -f -a "text\t'For people: time, level, message, fields; with colours on a terminal unless NO_COLOR is set'
logfmt\t'`name=value` pairs that parsers of logfmt take'
json\t'A JSON object a line'
journald\t'Entries of the systemd journal, each field by its name: `journalctl EVENT=sink_down`'"
complete -c forebay -n "__fish_forebay_using_subcommand config; and __fish_seen_subcommand_from keys" -s v -l verbose -d 'Log more: -v for details, -vv for everything'
complete -c forebay -n "__fish_forebay_using_subcommand config; and __fish_seen_subcommand_from keys" -s q -l quiet -d 'Log warnings and errors only'
complete -c forebay -n "__fish_forebay_using_subcommand config; and __fish_seen_subcommand_from keys" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c forebay -n "__fish_forebay_using_subcommand config; and __fish_seen_subcommand_from schema" -l log-format -d 'How log lines are written [default: to the journal under systemd, as text to the error output elsewhere]' -r -f -a "text\t'For people: time, level, message, fields; with colours on a terminal unless NO_COLOR is set'
logfmt\t'`name=value` pairs that parsers of logfmt take'
json\t'A JSON object a line'
journald\t'Entries of the systemd journal, each field by its name: `journalctl EVENT=sink_down`'"
complete -c forebay -n "__fish_forebay_using_subcommand config; and __fish_seen_subcommand_from schema" -s v -l verbose -d 'Log more: -v for details, -vv for everything'
complete -c forebay -n "__fish_forebay_using_subcommand config; and __fish_seen_subcommand_from schema" -s q -l quiet -d 'Log warnings and errors only'
complete -c forebay -n "__fish_forebay_using_subcommand config; and __fish_seen_subcommand_from schema" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c forebay -n "__fish_forebay_using_subcommand config; and __fish_seen_subcommand_from show" -l config -d 'The configuration, as an option' -r -F
complete -c forebay -n "__fish_forebay_using_subcommand config; and __fish_seen_subcommand_from show" -l state -d 'Where the store is, instead of what the configuration says' -r -F
complete -c forebay -n "__fish_forebay_using_subcommand config; and __fish_seen_subcommand_from show" -l log-format -d 'How log lines are written [default: to the journal under systemd, as text to the error output elsewhere]' -r -f -a "text\t'For people: time, level, message, fields; with colours on a terminal unless NO_COLOR is set'
logfmt\t'`name=value` pairs that parsers of logfmt take'
json\t'A JSON object a line'
journald\t'Entries of the systemd journal, each field by its name: `journalctl EVENT=sink_down`'"
complete -c forebay -n "__fish_forebay_using_subcommand config; and __fish_seen_subcommand_from show" -s v -l verbose -d 'Log more: -v for details, -vv for everything'
complete -c forebay -n "__fish_forebay_using_subcommand config; and __fish_seen_subcommand_from show" -s q -l quiet -d 'Log warnings and errors only'
complete -c forebay -n "__fish_forebay_using_subcommand config; and __fish_seen_subcommand_from show" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c forebay -n "__fish_forebay_using_subcommand config; and __fish_seen_subcommand_from status" -l config -d 'The configuration, as an option' -r -F
complete -c forebay -n "__fish_forebay_using_subcommand config; and __fish_seen_subcommand_from status" -l state -d 'Where the store is, instead of what the configuration says' -r -F
complete -c forebay -n "__fish_forebay_using_subcommand config; and __fish_seen_subcommand_from status" -l log-format -d 'How log lines are written [default: to the journal under systemd, as text to the error output elsewhere]' -r -f -a "text\t'For people: time, level, message, fields; with colours on a terminal unless NO_COLOR is set'
logfmt\t'`name=value` pairs that parsers of logfmt take'
json\t'A JSON object a line'
journald\t'Entries of the systemd journal, each field by its name: `journalctl EVENT=sink_down`'"
complete -c forebay -n "__fish_forebay_using_subcommand config; and __fish_seen_subcommand_from status" -l json -d 'As JSON'
complete -c forebay -n "__fish_forebay_using_subcommand config; and __fish_seen_subcommand_from status" -s v -l verbose -d 'Log more: -v for details, -vv for everything'
complete -c forebay -n "__fish_forebay_using_subcommand config; and __fish_seen_subcommand_from status" -s q -l quiet -d 'Log warnings and errors only'
complete -c forebay -n "__fish_forebay_using_subcommand config; and __fish_seen_subcommand_from status" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c forebay -n "__fish_forebay_using_subcommand config; and __fish_seen_subcommand_from history" -l config -d 'The configuration, as an option' -r -F
complete -c forebay -n "__fish_forebay_using_subcommand config; and __fish_seen_subcommand_from history" -l state -d 'Where the store is, instead of what the configuration says' -r -F
complete -c forebay -n "__fish_forebay_using_subcommand config; and __fish_seen_subcommand_from history" -l log-format -d 'How log lines are written [default: to the journal under systemd, as text to the error output elsewhere]' -r -f -a "text\t'For people: time, level, message, fields; with colours on a terminal unless NO_COLOR is set'
logfmt\t'`name=value` pairs that parsers of logfmt take'
json\t'A JSON object a line'
journald\t'Entries of the systemd journal, each field by its name: `journalctl EVENT=sink_down`'"
complete -c forebay -n "__fish_forebay_using_subcommand config; and __fish_seen_subcommand_from history" -s v -l verbose -d 'Log more: -v for details, -vv for everything'
complete -c forebay -n "__fish_forebay_using_subcommand config; and __fish_seen_subcommand_from history" -s q -l quiet -d 'Log warnings and errors only'
complete -c forebay -n "__fish_forebay_using_subcommand config; and __fish_seen_subcommand_from history" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c forebay -n "__fish_forebay_using_subcommand config; and __fish_seen_subcommand_from diff" -l from -d 'The older generation, such as 3' -r
complete -c forebay -n "__fish_forebay_using_subcommand config; and __fish_seen_subcommand_from diff" -l to -d 'The newer generation' -r
complete -c forebay -n "__fish_forebay_using_subcommand config; and __fish_seen_subcommand_from diff" -l config -d 'The configuration, as an option' -r -F
complete -c forebay -n "__fish_forebay_using_subcommand config; and __fish_seen_subcommand_from diff" -l state -d 'Where the store is, instead of what the configuration says' -r -F
complete -c forebay -n "__fish_forebay_using_subcommand config; and __fish_seen_subcommand_from diff" -l log-format -d 'How log lines are written [default: to the journal under systemd, as text to the error output elsewhere]' -r -f -a "text\t'For people: time, level, message, fields; with colours on a terminal unless NO_COLOR is set'
logfmt\t'`name=value` pairs that parsers of logfmt take'
json\t'A JSON object a line'
journald\t'Entries of the systemd journal, each field by its name: `journalctl EVENT=sink_down`'"
complete -c forebay -n "__fish_forebay_using_subcommand config; and __fish_seen_subcommand_from diff" -s v -l verbose -d 'Log more: -v for details, -vv for everything'
complete -c forebay -n "__fish_forebay_using_subcommand config; and __fish_seen_subcommand_from diff" -s q -l quiet -d 'Log warnings and errors only'
complete -c forebay -n "__fish_forebay_using_subcommand config; and __fish_seen_subcommand_from diff" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c forebay -n "__fish_forebay_using_subcommand config; and __fish_seen_subcommand_from seal" -l signature -d 'The signature [default: the document\'s name with .minisig]' -r -F
complete -c forebay -n "__fish_forebay_using_subcommand config; and __fish_seen_subcommand_from seal" -l log-format -d 'How log lines are written [default: to the journal under systemd, as text to the error output elsewhere]' -r -f -a "text\t'For people: time, level, message, fields; with colours on a terminal unless NO_COLOR is set'
logfmt\t'`name=value` pairs that parsers of logfmt take'
json\t'A JSON object a line'
journald\t'Entries of the systemd journal, each field by its name: `journalctl EVENT=sink_down`'"
complete -c forebay -n "__fish_forebay_using_subcommand config; and __fish_seen_subcommand_from seal" -s v -l verbose -d 'Log more: -v for details, -vv for everything'
complete -c forebay -n "__fish_forebay_using_subcommand config; and __fish_seen_subcommand_from seal" -s q -l quiet -d 'Log warnings and errors only'
complete -c forebay -n "__fish_forebay_using_subcommand config; and __fish_seen_subcommand_from seal" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c forebay -n "__fish_forebay_using_subcommand config; and __fish_seen_subcommand_from verify" -l key -d 'A public key of minisign, instead of `[remote] keys`; the document is then not checked against a device' -r
complete -c forebay -n "__fish_forebay_using_subcommand config; and __fish_seen_subcommand_from verify" -l config -d 'The configuration, as an option' -r -F
complete -c forebay -n "__fish_forebay_using_subcommand config; and __fish_seen_subcommand_from verify" -l state -d 'Where the store is, instead of what the configuration says' -r -F
complete -c forebay -n "__fish_forebay_using_subcommand config; and __fish_seen_subcommand_from verify" -l log-format -d 'How log lines are written [default: to the journal under systemd, as text to the error output elsewhere]' -r -f -a "text\t'For people: time, level, message, fields; with colours on a terminal unless NO_COLOR is set'
logfmt\t'`name=value` pairs that parsers of logfmt take'
json\t'A JSON object a line'
journald\t'Entries of the systemd journal, each field by its name: `journalctl EVENT=sink_down`'"
complete -c forebay -n "__fish_forebay_using_subcommand config; and __fish_seen_subcommand_from verify" -s v -l verbose -d 'Log more: -v for details, -vv for everything'
complete -c forebay -n "__fish_forebay_using_subcommand config; and __fish_seen_subcommand_from verify" -s q -l quiet -d 'Log warnings and errors only'
complete -c forebay -n "__fish_forebay_using_subcommand config; and __fish_seen_subcommand_from verify" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c forebay -n "__fish_forebay_using_subcommand config; and __fish_seen_subcommand_from apply" -l config -d 'The configuration, as an option' -r -F
complete -c forebay -n "__fish_forebay_using_subcommand config; and __fish_seen_subcommand_from apply" -l state -d 'Where the store is, instead of what the configuration says' -r -F
complete -c forebay -n "__fish_forebay_using_subcommand config; and __fish_seen_subcommand_from apply" -l log-format -d 'How log lines are written [default: to the journal under systemd, as text to the error output elsewhere]' -r -f -a "text\t'For people: time, level, message, fields; with colours on a terminal unless NO_COLOR is set'
logfmt\t'`name=value` pairs that parsers of logfmt take'
json\t'A JSON object a line'
journald\t'Entries of the systemd journal, each field by its name: `journalctl EVENT=sink_down`'"
complete -c forebay -n "__fish_forebay_using_subcommand config; and __fish_seen_subcommand_from apply" -s v -l verbose -d 'Log more: -v for details, -vv for everything'
complete -c forebay -n "__fish_forebay_using_subcommand config; and __fish_seen_subcommand_from apply" -s q -l quiet -d 'Log warnings and errors only'
complete -c forebay -n "__fish_forebay_using_subcommand config; and __fish_seen_subcommand_from apply" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c forebay -n "__fish_forebay_using_subcommand config; and __fish_seen_subcommand_from rollback" -l config -d 'The configuration, as an option' -r -F
complete -c forebay -n "__fish_forebay_using_subcommand config; and __fish_seen_subcommand_from rollback" -l state -d 'Where the store is, instead of what the configuration says' -r -F
complete -c forebay -n "__fish_forebay_using_subcommand config; and __fish_seen_subcommand_from rollback" -l log-format -d 'How log lines are written [default: to the journal under systemd, as text to the error output elsewhere]' -r -f -a "text\t'For people: time, level, message, fields; with colours on a terminal unless NO_COLOR is set'
logfmt\t'`name=value` pairs that parsers of logfmt take'
json\t'A JSON object a line'
journald\t'Entries of the systemd journal, each field by its name: `journalctl EVENT=sink_down`'"
complete -c forebay -n "__fish_forebay_using_subcommand config; and __fish_seen_subcommand_from rollback" -s v -l verbose -d 'Log more: -v for details, -vv for everything'
complete -c forebay -n "__fish_forebay_using_subcommand config; and __fish_seen_subcommand_from rollback" -s q -l quiet -d 'Log warnings and errors only'
complete -c forebay -n "__fish_forebay_using_subcommand config; and __fish_seen_subcommand_from rollback" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c forebay -n "__fish_forebay_using_subcommand config; and __fish_seen_subcommand_from help" -f -a "keys" -d 'Every key, as a page in Markdown'
complete -c forebay -n "__fish_forebay_using_subcommand config; and __fish_seen_subcommand_from help" -f -a "schema" -d 'The JSON Schema, for editors and for checks in CI'
complete -c forebay -n "__fish_forebay_using_subcommand config; and __fish_seen_subcommand_from help" -f -a "show" -d 'The configuration as it counts: the file, what it includes, and the pushed document over it'
complete -c forebay -n "__fish_forebay_using_subcommand config; and __fish_seen_subcommand_from help" -f -a "status" -d 'What was pushed: in force, on trial, refused'
complete -c forebay -n "__fish_forebay_using_subcommand config; and __fish_seen_subcommand_from help" -f -a "history" -d 'The configurations that were in force, the newest last'
complete -c forebay -n "__fish_forebay_using_subcommand config; and __fish_seen_subcommand_from help" -f -a "diff" -d 'What changed between two generations; without numbers, by the last change'
complete -c forebay -n "__fish_forebay_using_subcommand config; and __fish_seen_subcommand_from help" -f -a "seal" -d 'Put the signature of minisign at the end of a document, and print the whole'
complete -c forebay -n "__fish_forebay_using_subcommand config; and __fish_seen_subcommand_from help" -f -a "verify" -d 'Check a document: who signed it, who it is for, whether this device could run it'
complete -c forebay -n "__fish_forebay_using_subcommand config; and __fish_seen_subcommand_from help" -f -a "apply" -d 'Give a signed document to the agent of this device, and wait until it is on trial or refused'
complete -c forebay -n "__fish_forebay_using_subcommand config; and __fish_seen_subcommand_from help" -f -a "rollback" -d 'Go back to the document before the one in force'
complete -c forebay -n "__fish_forebay_using_subcommand config; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c forebay -n "__fish_forebay_using_subcommand fleet; and not __fish_seen_subcommand_from push status canary help" -l log-format -d 'How log lines are written [default: to the journal under systemd, as text to the error output elsewhere]' -r -f -a "text\t'For people: time, level, message, fields; with colours on a terminal unless NO_COLOR is set'
logfmt\t'`name=value` pairs that parsers of logfmt take'
json\t'A JSON object a line'
journald\t'Entries of the systemd journal, each field by its name: `journalctl EVENT=sink_down`'"
complete -c forebay -n "__fish_forebay_using_subcommand fleet; and not __fish_seen_subcommand_from push status canary help" -s v -l verbose -d 'Log more: -v for details, -vv for everything'
complete -c forebay -n "__fish_forebay_using_subcommand fleet; and not __fish_seen_subcommand_from push status canary help" -s q -l quiet -d 'Log warnings and errors only'
complete -c forebay -n "__fish_forebay_using_subcommand fleet; and not __fish_seen_subcommand_from push status canary help" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c forebay -n "__fish_forebay_using_subcommand fleet; and not __fish_seen_subcommand_from push status canary help" -f -a "push" -d 'Put a signed document where the gateways look'
complete -c forebay -n "__fish_forebay_using_subcommand fleet; and not __fish_seen_subcommand_from push status canary help" -f -a "status" -d 'Show what the gateways say of their configuration; exit 1 when one refused or rolled back'
complete -c forebay -n "__fish_forebay_using_subcommand fleet; and not __fish_seen_subcommand_from push status canary help" -f -a "canary" -d 'Sign a document and roll it out step by step; stop as soon as a gateway does worse'
complete -c forebay -n "__fish_forebay_using_subcommand fleet; and not __fish_seen_subcommand_from push status canary help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c forebay -n "__fish_forebay_using_subcommand fleet; and __fish_seen_subcommand_from push" -l key -d 'The public key of the fleet: its `.pub` file, or the key itself' -r
complete -c forebay -n "__fish_forebay_using_subcommand fleet; and __fish_seen_subcommand_from push" -l device -d 'For one gateway alone' -r
complete -c forebay -n "__fish_forebay_using_subcommand fleet; and __fish_seen_subcommand_from push" -l mqtt -d 'The broker: mqtt://host:1883 or mqtts://host:8883' -r
complete -c forebay -n "__fish_forebay_using_subcommand fleet; and __fish_seen_subcommand_from push" -l prefix -d 'The beginning of the topics' -r
complete -c forebay -n "__fish_forebay_using_subcommand fleet; and __fish_seen_subcommand_from push" -l user -d 'The name at the broker' -r
complete -c forebay -n "__fish_forebay_using_subcommand fleet; and __fish_seen_subcommand_from push" -l password-file -d 'A file with the password' -r -F
complete -c forebay -n "__fish_forebay_using_subcommand fleet; and __fish_seen_subcommand_from push" -l ca -d 'The roots that sign the broker\'s certificate, as PEM' -r -F
complete -c forebay -n "__fish_forebay_using_subcommand fleet; and __fish_seen_subcommand_from push" -l dir -d 'A folder that a web server shows, instead of a broker: documents as NAME.toml, reports as NAME.json' -r -F
complete -c forebay -n "__fish_forebay_using_subcommand fleet; and __fish_seen_subcommand_from push" -l log-format -d 'How log lines are written [default: to the journal under systemd, as text to the error output elsewhere]' -r -f -a "text\t'For people: time, level, message, fields; with colours on a terminal unless NO_COLOR is set'
logfmt\t'`name=value` pairs that parsers of logfmt take'
json\t'A JSON object a line'
journald\t'Entries of the systemd journal, each field by its name: `journalctl EVENT=sink_down`'"
complete -c forebay -n "__fish_forebay_using_subcommand fleet; and __fish_seen_subcommand_from push" -s v -l verbose -d 'Log more: -v for details, -vv for everything'
complete -c forebay -n "__fish_forebay_using_subcommand fleet; and __fish_seen_subcommand_from push" -s q -l quiet -d 'Log warnings and errors only'
complete -c forebay -n "__fish_forebay_using_subcommand fleet; and __fish_seen_subcommand_from push" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c forebay -n "__fish_forebay_using_subcommand fleet; and __fish_seen_subcommand_from status" -l mqtt -d 'The broker: mqtt://host:1883 or mqtts://host:8883' -r
complete -c forebay -n "__fish_forebay_using_subcommand fleet; and __fish_seen_subcommand_from status" -l prefix -d 'The beginning of the topics' -r
complete -c forebay -n "__fish_forebay_using_subcommand fleet; and __fish_seen_subcommand_from status" -l user -d 'The name at the broker' -r
complete -c forebay -n "__fish_forebay_using_subcommand fleet; and __fish_seen_subcommand_from status" -l password-file -d 'A file with the password' -r -F
complete -c forebay -n "__fish_forebay_using_subcommand fleet; and __fish_seen_subcommand_from status" -l ca -d 'The roots that sign the broker\'s certificate, as PEM' -r -F
complete -c forebay -n "__fish_forebay_using_subcommand fleet; and __fish_seen_subcommand_from status" -l dir -d 'A folder that a web server shows, instead of a broker: documents as NAME.toml, reports as NAME.json' -r -F
complete -c forebay -n "__fish_forebay_using_subcommand fleet; and __fish_seen_subcommand_from status" -l log-format -d 'How log lines are written [default: to the journal under systemd, as text to the error output elsewhere]' -r -f -a "text\t'For people: time, level, message, fields; with colours on a terminal unless NO_COLOR is set'
logfmt\t'`name=value` pairs that parsers of logfmt take'
json\t'A JSON object a line'
journald\t'Entries of the systemd journal, each field by its name: `journalctl EVENT=sink_down`'"
complete -c forebay -n "__fish_forebay_using_subcommand fleet; and __fish_seen_subcommand_from status" -l json -d 'As JSON, an object for each gateway'
complete -c forebay -n "__fish_forebay_using_subcommand fleet; and __fish_seen_subcommand_from status" -s v -l verbose -d 'Log more: -v for details, -vv for everything'
complete -c forebay -n "__fish_forebay_using_subcommand fleet; and __fish_seen_subcommand_from status" -s q -l quiet -d 'Log warnings and errors only'
complete -c forebay -n "__fish_forebay_using_subcommand fleet; and __fish_seen_subcommand_from status" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c forebay -n "__fish_forebay_using_subcommand fleet; and __fish_seen_subcommand_from canary" -l secret-key -d 'The secret key of the fleet; minisign asks for its password at each step' -r -F
complete -c forebay -n "__fish_forebay_using_subcommand fleet; and __fish_seen_subcommand_from canary" -l key -d 'The public key of the fleet: its `.pub` file, or the key itself' -r
complete -c forebay -n "__fish_forebay_using_subcommand fleet; and __fish_seen_subcommand_from canary" -l steps -d 'The share of the gateways at each step, in percent' -r
complete -c forebay -n "__fish_forebay_using_subcommand fleet; and __fish_seen_subcommand_from canary" -l patience -d 'The longest wait for the gateways of a step, in minutes' -r
complete -c forebay -n "__fish_forebay_using_subcommand fleet; and __fish_seen_subcommand_from canary" -l mqtt -d 'The broker: mqtt://host:1883 or mqtts://host:8883' -r
complete -c forebay -n "__fish_forebay_using_subcommand fleet; and __fish_seen_subcommand_from canary" -l prefix -d 'The beginning of the topics' -r
complete -c forebay -n "__fish_forebay_using_subcommand fleet; and __fish_seen_subcommand_from canary" -l user -d 'The name at the broker' -r
complete -c forebay -n "__fish_forebay_using_subcommand fleet; and __fish_seen_subcommand_from canary" -l password-file -d 'A file with the password' -r -F
complete -c forebay -n "__fish_forebay_using_subcommand fleet; and __fish_seen_subcommand_from canary" -l ca -d 'The roots that sign the broker\'s certificate, as PEM' -r -F
complete -c forebay -n "__fish_forebay_using_subcommand fleet; and __fish_seen_subcommand_from canary" -l dir -d 'A folder that a web server shows, instead of a broker: documents as NAME.toml, reports as NAME.json' -r -F
complete -c forebay -n "__fish_forebay_using_subcommand fleet; and __fish_seen_subcommand_from canary" -l log-format -d 'How log lines are written [default: to the journal under systemd, as text to the error output elsewhere]' -r -f -a "text\t'For people: time, level, message, fields; with colours on a terminal unless NO_COLOR is set'
logfmt\t'`name=value` pairs that parsers of logfmt take'
json\t'A JSON object a line'
journald\t'Entries of the systemd journal, each field by its name: `journalctl EVENT=sink_down`'"
complete -c forebay -n "__fish_forebay_using_subcommand fleet; and __fish_seen_subcommand_from canary" -l no-password -d 'The key has no password'
complete -c forebay -n "__fish_forebay_using_subcommand fleet; and __fish_seen_subcommand_from canary" -s v -l verbose -d 'Log more: -v for details, -vv for everything'
complete -c forebay -n "__fish_forebay_using_subcommand fleet; and __fish_seen_subcommand_from canary" -s q -l quiet -d 'Log warnings and errors only'
complete -c forebay -n "__fish_forebay_using_subcommand fleet; and __fish_seen_subcommand_from canary" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c forebay -n "__fish_forebay_using_subcommand fleet; and __fish_seen_subcommand_from help" -f -a "push" -d 'Put a signed document where the gateways look'
complete -c forebay -n "__fish_forebay_using_subcommand fleet; and __fish_seen_subcommand_from help" -f -a "status" -d 'Show what the gateways say of their configuration; exit 1 when one refused or rolled back'
complete -c forebay -n "__fish_forebay_using_subcommand fleet; and __fish_seen_subcommand_from help" -f -a "canary" -d 'Sign a document and roll it out step by step; stop as soon as a gateway does worse'
complete -c forebay -n "__fish_forebay_using_subcommand fleet; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c forebay -n "__fish_forebay_using_subcommand sample-config" -l log-format -d 'How log lines are written [default: to the journal under systemd, as text to the error output elsewhere]' -r -f -a "text\t'For people: time, level, message, fields; with colours on a terminal unless NO_COLOR is set'
logfmt\t'`name=value` pairs that parsers of logfmt take'
json\t'A JSON object a line'
journald\t'Entries of the systemd journal, each field by its name: `journalctl EVENT=sink_down`'"
complete -c forebay -n "__fish_forebay_using_subcommand sample-config" -s v -l verbose -d 'Log more: -v for details, -vv for everything'
complete -c forebay -n "__fish_forebay_using_subcommand sample-config" -s q -l quiet -d 'Log warnings and errors only'
complete -c forebay -n "__fish_forebay_using_subcommand sample-config" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c forebay -n "__fish_forebay_using_subcommand tap" -l config -d 'The configuration, as an option' -r -F
complete -c forebay -n "__fish_forebay_using_subcommand tap" -l limit -d 'End after so many records' -r
complete -c forebay -n "__fish_forebay_using_subcommand tap" -l log-format -d 'How log lines are written [default: to the journal under systemd, as text to the error output elsewhere]' -r -f -a "text\t'For people: time, level, message, fields; with colours on a terminal unless NO_COLOR is set'
logfmt\t'`name=value` pairs that parsers of logfmt take'
json\t'A JSON object a line'
journald\t'Entries of the systemd journal, each field by its name: `journalctl EVENT=sink_down`'"
complete -c forebay -n "__fish_forebay_using_subcommand tap" -l from-beginning -d 'Show what the files of a source have already; without it, what comes from now on'
complete -c forebay -n "__fish_forebay_using_subcommand tap" -s v -l verbose -d 'Log more: -v for details, -vv for everything'
complete -c forebay -n "__fish_forebay_using_subcommand tap" -s q -l quiet -d 'Log warnings and errors only'
complete -c forebay -n "__fish_forebay_using_subcommand tap" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c forebay -n "__fish_forebay_using_subcommand decode" -l config -d 'The configuration, as an option' -r -F
complete -c forebay -n "__fish_forebay_using_subcommand decode" -l key -d 'The key of the messages, such as an MQTT topic' -r
complete -c forebay -n "__fish_forebay_using_subcommand decode" -l route -d 'Which subscription of an MQTT source, or content type of an HTTP source without `decoder`, counted from 0' -r
complete -c forebay -n "__fish_forebay_using_subcommand decode" -l log-format -d 'How log lines are written [default: to the journal under systemd, as text to the error output elsewhere]' -r -f -a "text\t'For people: time, level, message, fields; with colours on a terminal unless NO_COLOR is set'
logfmt\t'`name=value` pairs that parsers of logfmt take'
json\t'A JSON object a line'
journald\t'Entries of the systemd journal, each field by its name: `journalctl EVENT=sink_down`'"
complete -c forebay -n "__fish_forebay_using_subcommand decode" -l lines -d 'The input has a message on each line; without it the input is one message'
complete -c forebay -n "__fish_forebay_using_subcommand decode" -s v -l verbose -d 'Log more: -v for details, -vv for everything'
complete -c forebay -n "__fish_forebay_using_subcommand decode" -s q -l quiet -d 'Log warnings and errors only'
complete -c forebay -n "__fish_forebay_using_subcommand decode" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c forebay -n "__fish_forebay_using_subcommand send-test" -l config -d 'The configuration, as an option' -r -F
complete -c forebay -n "__fish_forebay_using_subcommand send-test" -l log-format -d 'How log lines are written [default: to the journal under systemd, as text to the error output elsewhere]' -r -f -a "text\t'For people: time, level, message, fields; with colours on a terminal unless NO_COLOR is set'
logfmt\t'`name=value` pairs that parsers of logfmt take'
json\t'A JSON object a line'
journald\t'Entries of the systemd journal, each field by its name: `journalctl EVENT=sink_down`'"
complete -c forebay -n "__fish_forebay_using_subcommand send-test" -s v -l verbose -d 'Log more: -v for details, -vv for everything'
complete -c forebay -n "__fish_forebay_using_subcommand send-test" -s q -l quiet -d 'Log warnings and errors only'
complete -c forebay -n "__fish_forebay_using_subcommand send-test" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c forebay -n "__fish_forebay_using_subcommand status" -l config -d 'The configuration, as an option' -r -F
complete -c forebay -n "__fish_forebay_using_subcommand status" -l log-format -d 'How log lines are written [default: to the journal under systemd, as text to the error output elsewhere]' -r -f -a "text\t'For people: time, level, message, fields; with colours on a terminal unless NO_COLOR is set'
logfmt\t'`name=value` pairs that parsers of logfmt take'
json\t'A JSON object a line'
journald\t'Entries of the systemd journal, each field by its name: `journalctl EVENT=sink_down`'"
complete -c forebay -n "__fish_forebay_using_subcommand status" -l json -d 'Print the answer of the agent as JSON'
complete -c forebay -n "__fish_forebay_using_subcommand status" -s v -l verbose -d 'Log more: -v for details, -vv for everything'
complete -c forebay -n "__fish_forebay_using_subcommand status" -s q -l quiet -d 'Log warnings and errors only'
complete -c forebay -n "__fish_forebay_using_subcommand status" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c forebay -n "__fish_forebay_using_subcommand doctor" -l config -d 'The configuration, as an option' -r -F
complete -c forebay -n "__fish_forebay_using_subcommand doctor" -l bundle -d 'Write an archive for support, without secrets; its contents are listed first' -r -F
complete -c forebay -n "__fish_forebay_using_subcommand doctor" -l log-format -d 'How log lines are written [default: to the journal under systemd, as text to the error output elsewhere]' -r -f -a "text\t'For people: time, level, message, fields; with colours on a terminal unless NO_COLOR is set'
logfmt\t'`name=value` pairs that parsers of logfmt take'
json\t'A JSON object a line'
journald\t'Entries of the systemd journal, each field by its name: `journalctl EVENT=sink_down`'"
complete -c forebay -n "__fish_forebay_using_subcommand doctor" -l offline -d 'Connect to nothing: only look at this machine'
complete -c forebay -n "__fish_forebay_using_subcommand doctor" -s v -l verbose -d 'Log more: -v for details, -vv for everything'
complete -c forebay -n "__fish_forebay_using_subcommand doctor" -s q -l quiet -d 'Log warnings and errors only'
complete -c forebay -n "__fish_forebay_using_subcommand doctor" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c forebay -n "__fish_forebay_using_subcommand top" -l config -d 'The configuration, as an option' -r -F
complete -c forebay -n "__fish_forebay_using_subcommand top" -l log-format -d 'How log lines are written [default: to the journal under systemd, as text to the error output elsewhere]' -r -f -a "text\t'For people: time, level, message, fields; with colours on a terminal unless NO_COLOR is set'
logfmt\t'`name=value` pairs that parsers of logfmt take'
json\t'A JSON object a line'
journald\t'Entries of the systemd journal, each field by its name: `journalctl EVENT=sink_down`'"
complete -c forebay -n "__fish_forebay_using_subcommand top" -s v -l verbose -d 'Log more: -v for details, -vv for everything'
complete -c forebay -n "__fish_forebay_using_subcommand top" -s q -l quiet -d 'Log warnings and errors only'
complete -c forebay -n "__fish_forebay_using_subcommand top" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c forebay -n "__fish_forebay_using_subcommand buffer; and not __fish_seen_subcommand_from ls show export verify repair forget trim help" -l log-format -d 'How log lines are written [default: to the journal under systemd, as text to the error output elsewhere]' -r -f -a "text\t'For people: time, level, message, fields; with colours on a terminal unless NO_COLOR is set'
logfmt\t'`name=value` pairs that parsers of logfmt take'
json\t'A JSON object a line'
journald\t'Entries of the systemd journal, each field by its name: `journalctl EVENT=sink_down`'"
complete -c forebay -n "__fish_forebay_using_subcommand buffer; and not __fish_seen_subcommand_from ls show export verify repair forget trim help" -s v -l verbose -d 'Log more: -v for details, -vv for everything'
complete -c forebay -n "__fish_forebay_using_subcommand buffer; and not __fish_seen_subcommand_from ls show export verify repair forget trim help" -s q -l quiet -d 'Log warnings and errors only'
complete -c forebay -n "__fish_forebay_using_subcommand buffer; and not __fish_seen_subcommand_from ls show export verify repair forget trim help" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c forebay -n "__fish_forebay_using_subcommand buffer; and not __fish_seen_subcommand_from ls show export verify repair forget trim help" -f -a "ls" -d 'List streams, ranges, sizes, cursors; exit 1 when something was found to be wrong'
complete -c forebay -n "__fish_forebay_using_subcommand buffer; and not __fish_seen_subcommand_from ls show export verify repair forget trim help" -f -a "show" -d 'Show decoded records'
complete -c forebay -n "__fish_forebay_using_subcommand buffer; and not __fish_seen_subcommand_from ls show export verify repair forget trim help" -f -a "export" -d 'Write records to standard output as NDJSON, one JSON object a line'
complete -c forebay -n "__fish_forebay_using_subcommand buffer; and not __fish_seen_subcommand_from ls show export verify repair forget trim help" -f -a "verify" -d 'Read every record back; exit 1 when something does not read'
complete -c forebay -n "__fish_forebay_using_subcommand buffer; and not __fish_seen_subcommand_from ls show export verify repair forget trim help" -f -a "repair" -d 'Write damaged segments anew without the damage, make the index again; the agent must be stopped'
complete -c forebay -n "__fish_forebay_using_subcommand buffer; and not __fish_seen_subcommand_from ls show export verify repair forget trim help" -f -a "forget" -d 'Forget where a reader stands that is not configured any more; the agent must be stopped'
complete -c forebay -n "__fish_forebay_using_subcommand buffer; and not __fish_seen_subcommand_from ls show export verify repair forget trim help" -f -a "trim" -d 'Give up a stream\'s oldest records for good; the agent must be stopped'
complete -c forebay -n "__fish_forebay_using_subcommand buffer; and not __fish_seen_subcommand_from ls show export verify repair forget trim help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c forebay -n "__fish_forebay_using_subcommand buffer; and __fish_seen_subcommand_from ls" -l log-format -d 'How log lines are written [default: to the journal under systemd, as text to the error output elsewhere]' -r -f -a "text\t'For people: time, level, message, fields; with colours on a terminal unless NO_COLOR is set'
logfmt\t'`name=value` pairs that parsers of logfmt take'
json\t'A JSON object a line'
journald\t'Entries of the systemd journal, each field by its name: `journalctl EVENT=sink_down`'"
complete -c forebay -n "__fish_forebay_using_subcommand buffer; and __fish_seen_subcommand_from ls" -s v -l verbose -d 'Log more: -v for details, -vv for everything'
complete -c forebay -n "__fish_forebay_using_subcommand buffer; and __fish_seen_subcommand_from ls" -s q -l quiet -d 'Log warnings and errors only'
complete -c forebay -n "__fish_forebay_using_subcommand buffer; and __fish_seen_subcommand_from ls" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c forebay -n "__fish_forebay_using_subcommand buffer; and __fish_seen_subcommand_from show" -l from -d 'From this sequence on' -r
complete -c forebay -n "__fish_forebay_using_subcommand buffer; and __fish_seen_subcommand_from show" -l limit -d 'At most so many records' -r
complete -c forebay -n "__fish_forebay_using_subcommand buffer; and __fish_seen_subcommand_from show" -l log-format -d 'How log lines are written [default: to the journal under systemd, as text to the error output elsewhere]' -r -f -a "text\t'For people: time, level, message, fields; with colours on a terminal unless NO_COLOR is set'
logfmt\t'`name=value` pairs that parsers of logfmt take'
json\t'A JSON object a line'
journald\t'Entries of the systemd journal, each field by its name: `journalctl EVENT=sink_down`'"
complete -c forebay -n "__fish_forebay_using_subcommand buffer; and __fish_seen_subcommand_from show" -s v -l verbose -d 'Log more: -v for details, -vv for everything'
complete -c forebay -n "__fish_forebay_using_subcommand buffer; and __fish_seen_subcommand_from show" -s q -l quiet -d 'Log warnings and errors only'
complete -c forebay -n "__fish_forebay_using_subcommand buffer; and __fish_seen_subcommand_from show" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c forebay -n "__fish_forebay_using_subcommand buffer; and __fish_seen_subcommand_from export" -l from -d 'From this sequence on' -r
complete -c forebay -n "__fish_forebay_using_subcommand buffer; and __fish_seen_subcommand_from export" -l to -d 'Up to this sequence' -r
complete -c forebay -n "__fish_forebay_using_subcommand buffer; and __fish_seen_subcommand_from export" -l log-format -d 'How log lines are written [default: to the journal under systemd, as text to the error output elsewhere]' -r -f -a "text\t'For people: time, level, message, fields; with colours on a terminal unless NO_COLOR is set'
logfmt\t'`name=value` pairs that parsers of logfmt take'
json\t'A JSON object a line'
journald\t'Entries of the systemd journal, each field by its name: `journalctl EVENT=sink_down`'"
complete -c forebay -n "__fish_forebay_using_subcommand buffer; and __fish_seen_subcommand_from export" -s v -l verbose -d 'Log more: -v for details, -vv for everything'
complete -c forebay -n "__fish_forebay_using_subcommand buffer; and __fish_seen_subcommand_from export" -s q -l quiet -d 'Log warnings and errors only'
complete -c forebay -n "__fish_forebay_using_subcommand buffer; and __fish_seen_subcommand_from export" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c forebay -n "__fish_forebay_using_subcommand buffer; and __fish_seen_subcommand_from verify" -l log-format -d 'How log lines are written [default: to the journal under systemd, as text to the error output elsewhere]' -r -f -a "text\t'For people: time, level, message, fields; with colours on a terminal unless NO_COLOR is set'
logfmt\t'`name=value` pairs that parsers of logfmt take'
json\t'A JSON object a line'
journald\t'Entries of the systemd journal, each field by its name: `journalctl EVENT=sink_down`'"
complete -c forebay -n "__fish_forebay_using_subcommand buffer; and __fish_seen_subcommand_from verify" -s v -l verbose -d 'Log more: -v for details, -vv for everything'
complete -c forebay -n "__fish_forebay_using_subcommand buffer; and __fish_seen_subcommand_from verify" -s q -l quiet -d 'Log warnings and errors only'
complete -c forebay -n "__fish_forebay_using_subcommand buffer; and __fish_seen_subcommand_from verify" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c forebay -n "__fish_forebay_using_subcommand buffer; and __fish_seen_subcommand_from repair" -l log-format -d 'How log lines are written [default: to the journal under systemd, as text to the error output elsewhere]' -r -f -a "text\t'For people: time, level, message, fields; with colours on a terminal unless NO_COLOR is set'
logfmt\t'`name=value` pairs that parsers of logfmt take'
json\t'A JSON object a line'
journald\t'Entries of the systemd journal, each field by its name: `journalctl EVENT=sink_down`'"
complete -c forebay -n "__fish_forebay_using_subcommand buffer; and __fish_seen_subcommand_from repair" -s v -l verbose -d 'Log more: -v for details, -vv for everything'
complete -c forebay -n "__fish_forebay_using_subcommand buffer; and __fish_seen_subcommand_from repair" -s q -l quiet -d 'Log warnings and errors only'
complete -c forebay -n "__fish_forebay_using_subcommand buffer; and __fish_seen_subcommand_from repair" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c forebay -n "__fish_forebay_using_subcommand buffer; and __fish_seen_subcommand_from forget" -l log-format -d 'How log lines are written [default: to the journal under systemd, as text to the error output elsewhere]' -r -f -a "text\t'For people: time, level, message, fields; with colours on a terminal unless NO_COLOR is set'
logfmt\t'`name=value` pairs that parsers of logfmt take'
json\t'A JSON object a line'
journald\t'Entries of the systemd journal, each field by its name: `journalctl EVENT=sink_down`'"
complete -c forebay -n "__fish_forebay_using_subcommand buffer; and __fish_seen_subcommand_from forget" -s v -l verbose -d 'Log more: -v for details, -vv for everything'
complete -c forebay -n "__fish_forebay_using_subcommand buffer; and __fish_seen_subcommand_from forget" -s q -l quiet -d 'Log warnings and errors only'
complete -c forebay -n "__fish_forebay_using_subcommand buffer; and __fish_seen_subcommand_from forget" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c forebay -n "__fish_forebay_using_subcommand buffer; and __fish_seen_subcommand_from trim" -l before -d 'Records below this sequence' -r
complete -c forebay -n "__fish_forebay_using_subcommand buffer; and __fish_seen_subcommand_from trim" -l older-than -d 'Records that arrived longer ago than this, such as 7d or 12h; whole commits at a time' -r
complete -c forebay -n "__fish_forebay_using_subcommand buffer; and __fish_seen_subcommand_from trim" -l log-format -d 'How log lines are written [default: to the journal under systemd, as text to the error output elsewhere]' -r -f -a "text\t'For people: time, level, message, fields; with colours on a terminal unless NO_COLOR is set'
logfmt\t'`name=value` pairs that parsers of logfmt take'
json\t'A JSON object a line'
journald\t'Entries of the systemd journal, each field by its name: `journalctl EVENT=sink_down`'"
complete -c forebay -n "__fish_forebay_using_subcommand buffer; and __fish_seen_subcommand_from trim" -s v -l verbose -d 'Log more: -v for details, -vv for everything'
complete -c forebay -n "__fish_forebay_using_subcommand buffer; and __fish_seen_subcommand_from trim" -s q -l quiet -d 'Log warnings and errors only'
complete -c forebay -n "__fish_forebay_using_subcommand buffer; and __fish_seen_subcommand_from trim" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c forebay -n "__fish_forebay_using_subcommand buffer; and __fish_seen_subcommand_from help" -f -a "ls" -d 'List streams, ranges, sizes, cursors; exit 1 when something was found to be wrong'
complete -c forebay -n "__fish_forebay_using_subcommand buffer; and __fish_seen_subcommand_from help" -f -a "show" -d 'Show decoded records'
complete -c forebay -n "__fish_forebay_using_subcommand buffer; and __fish_seen_subcommand_from help" -f -a "export" -d 'Write records to standard output as NDJSON, one JSON object a line'
complete -c forebay -n "__fish_forebay_using_subcommand buffer; and __fish_seen_subcommand_from help" -f -a "verify" -d 'Read every record back; exit 1 when something does not read'
complete -c forebay -n "__fish_forebay_using_subcommand buffer; and __fish_seen_subcommand_from help" -f -a "repair" -d 'Write damaged segments anew without the damage, make the index again; the agent must be stopped'
complete -c forebay -n "__fish_forebay_using_subcommand buffer; and __fish_seen_subcommand_from help" -f -a "forget" -d 'Forget where a reader stands that is not configured any more; the agent must be stopped'
complete -c forebay -n "__fish_forebay_using_subcommand buffer; and __fish_seen_subcommand_from help" -f -a "trim" -d 'Give up a stream\'s oldest records for good; the agent must be stopped'
complete -c forebay -n "__fish_forebay_using_subcommand buffer; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c forebay -n "__fish_forebay_using_subcommand help; and not __fish_seen_subcommand_from run check config fleet sample-config tap decode send-test status doctor top buffer help" -f -a "run" -d 'Run the agent'
complete -c forebay -n "__fish_forebay_using_subcommand help; and not __fish_seen_subcommand_from run check config fleet sample-config tap decode send-test status doctor top buffer help" -f -a "check" -d 'Check a configuration and say what is assumed; exit 0, 1 (problems) or 2 (cannot read)'
complete -c forebay -n "__fish_forebay_using_subcommand help; and not __fish_seen_subcommand_from run check config fleet sample-config tap decode send-test status doctor top buffer help" -f -a "config" -d 'The configuration: every key, what counts, what was pushed; check, apply and roll back signed documents'
complete -c forebay -n "__fish_forebay_using_subcommand help; and not __fish_seen_subcommand_from run check config fleet sample-config tap decode send-test status doctor top buffer help" -f -a "fleet" -d 'Change the configuration of many gateways: push a signed document, see what became of it, roll it out step by step'
complete -c forebay -n "__fish_forebay_using_subcommand help; and not __fish_seen_subcommand_from run check config fleet sample-config tap decode send-test status doctor top buffer help" -f -a "sample-config" -d 'Write an example configuration, of all kinds or of some: `forebay sample-config mqtt eventhubs`'
complete -c forebay -n "__fish_forebay_using_subcommand help; and not __fish_seen_subcommand_from run check config fleet sample-config tap decode send-test status doctor top buffer help" -f -a "tap" -d 'Print what a source brings, decoded, without touching the store'
complete -c forebay -n "__fish_forebay_using_subcommand help; and not __fish_seen_subcommand_from run check config fleet sample-config tap decode send-test status doctor top buffer help" -f -a "decode" -d 'Print what a source makes of messages from the standard input'
complete -c forebay -n "__fish_forebay_using_subcommand help; and not __fish_seen_subcommand_from run check config fleet sample-config tap decode send-test status doctor top buffer help" -f -a "send-test" -d 'Deliver one event and print what happens at each step: names, TCP, TLS, login, limits, outcome'
complete -c forebay -n "__fish_forebay_using_subcommand help; and not __fish_seen_subcommand_from run check config fleet sample-config tap decode send-test status doctor top buffer help" -f -a "status" -d 'Ask the running agent how its sources and sinks are; exit 0, 1 (one needs attention) or 2 (no answer)'
complete -c forebay -n "__fish_forebay_using_subcommand help; and not __fish_seen_subcommand_from run check config fleet sample-config tap decode send-test status doctor top buffer help" -f -a "doctor" -d 'Look for what breaks in the field, and say what to do; exit 0, 1 (something is bad) or 2 (cannot read)'
complete -c forebay -n "__fish_forebay_using_subcommand help; and not __fish_seen_subcommand_from run check config fleet sample-config tap decode send-test status doctor top buffer help" -f -a "top" -d 'Watch the running agent on a terminal, once a second; q ends'
complete -c forebay -n "__fish_forebay_using_subcommand help; and not __fish_seen_subcommand_from run check config fleet sample-config tap decode send-test status doctor top buffer help" -f -a "buffer" -d 'Look into a store, also while an agent runs: ls, show, export, verify; mend it: repair, trim'
complete -c forebay -n "__fish_forebay_using_subcommand help; and not __fish_seen_subcommand_from run check config fleet sample-config tap decode send-test status doctor top buffer help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c forebay -n "__fish_forebay_using_subcommand help; and __fish_seen_subcommand_from config" -f -a "keys" -d 'Every key, as a page in Markdown'
complete -c forebay -n "__fish_forebay_using_subcommand help; and __fish_seen_subcommand_from config" -f -a "schema" -d 'The JSON Schema, for editors and for checks in CI'
complete -c forebay -n "__fish_forebay_using_subcommand help; and __fish_seen_subcommand_from config" -f -a "show" -d 'The configuration as it counts: the file, what it includes, and the pushed document over it'
complete -c forebay -n "__fish_forebay_using_subcommand help; and __fish_seen_subcommand_from config" -f -a "status" -d 'What was pushed: in force, on trial, refused'
complete -c forebay -n "__fish_forebay_using_subcommand help; and __fish_seen_subcommand_from config" -f -a "history" -d 'The configurations that were in force, the newest last'
complete -c forebay -n "__fish_forebay_using_subcommand help; and __fish_seen_subcommand_from config" -f -a "diff" -d 'What changed between two generations; without numbers, by the last change'
complete -c forebay -n "__fish_forebay_using_subcommand help; and __fish_seen_subcommand_from config" -f -a "seal" -d 'Put the signature of minisign at the end of a document, and print the whole'
complete -c forebay -n "__fish_forebay_using_subcommand help; and __fish_seen_subcommand_from config" -f -a "verify" -d 'Check a document: who signed it, who it is for, whether this device could run it'
complete -c forebay -n "__fish_forebay_using_subcommand help; and __fish_seen_subcommand_from config" -f -a "apply" -d 'Give a signed document to the agent of this device, and wait until it is on trial or refused'
complete -c forebay -n "__fish_forebay_using_subcommand help; and __fish_seen_subcommand_from config" -f -a "rollback" -d 'Go back to the document before the one in force'
complete -c forebay -n "__fish_forebay_using_subcommand help; and __fish_seen_subcommand_from fleet" -f -a "push" -d 'Put a signed document where the gateways look'
complete -c forebay -n "__fish_forebay_using_subcommand help; and __fish_seen_subcommand_from fleet" -f -a "status" -d 'Show what the gateways say of their configuration; exit 1 when one refused or rolled back'
complete -c forebay -n "__fish_forebay_using_subcommand help; and __fish_seen_subcommand_from fleet" -f -a "canary" -d 'Sign a document and roll it out step by step; stop as soon as a gateway does worse'
complete -c forebay -n "__fish_forebay_using_subcommand help; and __fish_seen_subcommand_from buffer" -f -a "ls" -d 'List streams, ranges, sizes, cursors; exit 1 when something was found to be wrong'
complete -c forebay -n "__fish_forebay_using_subcommand help; and __fish_seen_subcommand_from buffer" -f -a "show" -d 'Show decoded records'
complete -c forebay -n "__fish_forebay_using_subcommand help; and __fish_seen_subcommand_from buffer" -f -a "export" -d 'Write records to standard output as NDJSON, one JSON object a line'
complete -c forebay -n "__fish_forebay_using_subcommand help; and __fish_seen_subcommand_from buffer" -f -a "verify" -d 'Read every record back; exit 1 when something does not read'
complete -c forebay -n "__fish_forebay_using_subcommand help; and __fish_seen_subcommand_from buffer" -f -a "repair" -d 'Write damaged segments anew without the damage, make the index again; the agent must be stopped'
complete -c forebay -n "__fish_forebay_using_subcommand help; and __fish_seen_subcommand_from buffer" -f -a "forget" -d 'Forget where a reader stands that is not configured any more; the agent must be stopped'
complete -c forebay -n "__fish_forebay_using_subcommand help; and __fish_seen_subcommand_from buffer" -f -a "trim" -d 'Give up a stream\'s oldest records for good; the agent must be stopped'
