//! What the commands about scopes, rules and evidence print for programs.

use serde_json::Value;

use crate::{
    bench::{Bench, Ran, Server, ended},
    facts::Facts,
};

/// The members of every object.
pub(crate) fn objects(shape: impl Fn(&str, &Value, &mut Facts)) -> Facts {
    let bench = Bench::new();
    bench.run("init --data-dir data --origin example.com/audit --kind events --administrator alice").ok();
    for name in ["alice", "bob", "carol"] {
        let grants: String = ["append", "read", "query", "reveal", "scope", "check", "admin"]
            .iter()
            .map(|permission| format!(" --grant {permission}:*"))
            .collect();
        let made = bench.run(&format!("token new --name {name}{grants} --credentials credentials.toml")).ok();
        bench.write_secret(&format!("{name}.token"), made.text());
    }
    bench.write("graven.toml", "data_dir = \"data\"\naccess = { credentials = \"credentials.toml\" }\n");
    let server = bench.serve_with("serve --config graven.toml --listen 127.0.0.1:0 --ops-listen off");
    let mut facts = Facts::new();
    let mut tell = |command: &str, ran: &Ran| {
        let objects = ran.objects();
        assert!(!objects.is_empty(), "{command} printed nothing: {ran}");
        objects.iter().for_each(|object| shape(command, object, &mut facts));
    };
    let by = |who: &str, arguments: &str| by(&bench, &server, who, arguments);
    let define = "scopes define payroll.read --tier read --approver bob --longest 90days --json";
    tell("scopes define --json", &by("alice", define));
    let request = "scopes request billing --scope payroll.read --subject dora --resource https://api.example.com \
                   --expires 30days --because audit --wait published --json";
    let asked = by("carol", request);
    let grant = asked.object()["id"].as_str().unwrap().to_owned();
    tell("scopes request --wait published --json", &asked);
    tell("scopes approve --json", &by("bob", &format!("scopes approve {grant}@1 --json")));
    let check = "check --client billing --scope payroll.read --subject dora --resource https://api.example.com --json";
    let allowed = by("alice", check);
    let index = allowed.object()["index"].to_string();
    tell("check --json", &allowed);
    tell("check --json, denied", &by("alice", "check --client other --scope payroll.read --json"));
    tell("check --wait published --json", &by("alice", &format!("{check} --wait published")));
    tell("explain --json", &by("alice", &format!("explain {index} --json")));
    tell("scopes list --json", &by("alice", "scopes list --json"));
    tell("scopes grants --json", &by("alice", "scopes grants --json"));
    tell("scopes at --json", &by("alice", "scopes at --size 4 --json"));
    tell("scopes unused --json", &by("alice", "scopes unused --since 1day --json"));
    tell("scopes history --json", &by("alice", "scopes history billing --json"));
    let opened = by("alice", "scopes review open --due 14days --json");
    let review = opened.object()["id"].as_str().unwrap().to_owned();
    tell("scopes review open --json", &opened);
    tell("scopes review list --json", &by("alice", "scopes review list --json"));
    tell(
        "scopes review attest --json",
        &by("bob", &format!("scopes review attest {review} {grant} keep --json")),
    );
    tell("rules list --json", &by("alice", "rules list --json"));
    tell("rules enable --json", &by("alice", "rules enable first-use --json"));
    by("carol", "scopes request console --scope payroll.read --expires 30days").ok();
    by("alice", "check --client console --scope payroll.read --wait published");
    tell("rules retire --json", &by("alice", "rules retire first-use --json"));
    tell("replay --client --json", &by("alice", "replay --client billing --json"));
    let collect = "evidence collect --control CC6.1 --from 1h --out pack --json";
    tell("evidence collect --json", &by("alice", collect));
    server.stop();
    tell(
        "evidence verify --json, of a pack",
        &bench.run("evidence verify --policy data/audit.policy --json pack"),
    );
    facts
}

fn by(bench: &Bench, server: &Server, who: &str, arguments: &str) -> Ran {
    let mut command = bench.command_at(server, arguments);
    ended(command.args(["--token-file", &format!("{who}.token"), "--log", "audit"]))
}
