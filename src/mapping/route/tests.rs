use super::*;

fn backend(name: &str, rules: &[(&str, &str, Mode)]) -> BackendRules {
    let rules = rules.iter().map(|(from, to, mode)| RouteSpec {
        rule: RuleSpec { from: (*from).into(), to: (*to).into(), separator: None, escape: false },
        mode: *mode,
        kv_version: Some(2),
        writable: *mode == Mode::Proxy,
    });
    BackendRules { backend: name.into(), rules: rules.collect() }
}

fn path(text: &str) -> SecretPath {
    SecretPath::parse(text).unwrap()
}

fn folder(text: &str) -> Folder {
    Folder::parse(text).unwrap()
}

fn remote(text: &str) -> RemoteName {
    RemoteName::parse(text).unwrap()
}

const fn id(backend: u32, rule: u32) -> RuleId {
    RuleId { backend, rule }
}

fn router() -> Router {
    let backends = [
        backend("vault", &[("apps/x/*", "kv/data/x/*", Mode::Proxy), ("apps/shared/**", "kv/data/s/**", Mode::Sync)]),
        backend("aws", &[("apps/**", "prod/**", Mode::Sync)]),
    ];
    Router::compile(&backends, &[folder("infra/local")], false).unwrap()
}

#[test]
fn g09_the_first_rule_over_all_backends_wins() {
    let router = router();
    for (name, rule, mode, expected) in [
        ("apps/x/a", id(0, 0), Mode::Proxy, "kv/data/x/a"),
        ("apps/shared/a/b", id(0, 1), Mode::Sync, "kv/data/s/a/b"),
        ("apps/x/a/b", id(1, 0), Mode::Sync, "prod/x/a/b"),
    ] {
        let route = router.resolve(&path(name)).unwrap();
        assert_eq!((route.rule, route.mode), (Some(rule), mode));
        let target = Target { backend: rule.backend, remote: remote(expected), kv_version: Some(2) };
        assert_eq!(route.targets, Targets::one(target));
    }
    assert_eq!(id(2, 0).to_string(), "2/0");
    assert!(router.is_writable(id(0, 0)));
    assert!(!router.is_writable(id(0, 1)) && !router.is_writable(id(7, 0)));
}

#[test]
fn what_no_rule_maps_is_local_in_a_local_folder_only() {
    let router = router();
    let local = router.resolve(&path("infra/local/a")).unwrap();
    assert_eq!((local.rule, local.mode, local.targets.len()), (None, Mode::Local, 0));
    for unmapped in ["infra/local", "infra/locally/a", "infra/x", "z"] {
        assert_eq!(router.resolve(&path(unmapped)), None, "{unmapped}");
    }
    let dev = Router::compile(&[], &[], true).unwrap();
    assert_eq!(dev.resolve(&path("z")).map(|route| route.mode), Some(Mode::Local));
    assert_eq!(dev.list(&Folder::root()), [ListSource::Local]);
}

#[test]
fn remote_names_come_back_unless_another_backend_takes_their_path() {
    let router = router();
    assert_eq!(router.reverse(0, &remote("kv/data/x/a")), Ok((path("apps/x/a"), id(0, 0))));
    assert_eq!(router.reverse(1, &remote("prod/y")), Ok((path("apps/y"), id(1, 0))));
    let shadowed = Unmapped::Shadowed { rule: id(1, 0), by: id(0, 0) };
    assert_eq!(router.reverse(1, &remote("prod/x/a")), Err(shadowed));
    assert_eq!(router.reverse(1, &remote("dev/x")), Err(Unmapped::NoRule));
    assert_eq!(router.reverse(1, &remote("prod/a b")), Err(Unmapped::NotAName));
    assert_eq!(router.reverse(2, &remote("prod/x")), Err(Unmapped::NoRule));
}

#[test]
fn the_rules_ahead_of_one_are_the_earlier_ones_that_can_take_its_paths() {
    let router = router();
    let count = |backend, rule| router.ahead_of(id(backend, rule)).len();
    assert_eq!((count(0, 0), count(0, 1), count(1, 0)), (0, 0, 2), "`apps/x/*` and `apps/shared/**` never meet");
    assert_eq!((count(0, 9), count(9, 0)), (0, 0));
    // what serves them does not matter, what they say does
    let ahead = |from: &str, to: &str, mode| {
        let backends = [backend("one", &[(from, to, mode)]), backend("two", &[("apps/**", "prod/**", Mode::Sync)])];
        let router = Router::compile(&backends, &[], false).unwrap();
        router.ahead_of(id(1, 0)).into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    let before = ahead("apps/x/*", "kv/data/x/*", Mode::Proxy);
    assert_eq!(before, ahead("apps/x/*", "kv/data/x/*", Mode::Sync));
    assert_ne!(before, ahead("apps/x/*", "kv/data/y/*", Mode::Proxy));
    assert_ne!(before, ahead("apps/*/x", "kv/data/*/x", Mode::Proxy));
    assert!(ahead("infra/**", "**", Mode::Proxy).is_empty());
}

#[test]
fn a_list_names_every_source_once() {
    let router = router();
    let summary = |text: &str| -> Vec<String> {
        let sources = router.list(&folder(text)).into_iter();
        sources
            .map(|source| match source {
                ListSource::Local => "local".to_owned(),
                ListSource::Backend { rule, kind: FolderKind::Children { folder }, .. } => format!("{rule} {folder}/*"),
                ListSource::Backend { rule, kind: FolderKind::Fixed { name, target }, .. } => {
                    format!("{rule} {name}={target}")
                }
                ListSource::Backend { rule, kind: FolderKind::Flat { prefix }, .. } => format!("{rule} {prefix}..."),
            })
            .collect()
    };
    assert_eq!(summary(""), ["local", "0/0 apps/=", "0/1 apps/=", "1/0 apps/=", "1/0 apps=prod"]);
    assert_eq!(summary("apps"), ["0/0 x/=", "0/1 shared/=", "0/1 shared=kv/data/s", "1/0 prod/*"]);
    assert_eq!(summary("apps/x"), ["0/0 kv/data/x/*", "1/0 prod/x/*"]);
    assert_eq!(summary("infra"), ["local"]);
    assert_eq!(summary("infra/local/deep"), ["local"]);
    assert_eq!(summary("infra/locally"), [""; 0]);
    assert!(router.could_yield(id(1, 0), &folder("apps/x/y")));
    assert!(!router.could_yield(id(0, 0), &folder("apps/x/y")));
}

#[test]
fn explain_goes_over_the_backends_in_order() {
    let trials = router().trial(&path("apps/z"));
    let names: Vec<_> = trials.iter().map(|(name, trial)| (&**name, trial.rule, trial.outcome.is_ok())).collect();
    assert_eq!(names, [("vault", 0, false), ("vault", 1, false), ("aws", 0, true)]);
    assert_eq!(router().trial(&path("apps/x/a")).len(), 1);
}

#[test]
fn problems_are_keyed_by_where_they_are_configured() {
    let backends = [backend("one", &[]), backend("two", &[("a b", "x", Mode::Proxy), ("a/*", "x", Mode::Proxy)])];
    let keys = |backends: &[BackendRules], local: &[Folder]| {
        let found = Router::compile(backends, local, false).unwrap_err();
        found.into_iter().map(|problem| problem.key).collect::<Vec<_>>()
    };
    assert_eq!(keys(&backends, &[]), ["backends[1].path_mapping[0].from", "backends[1].path_mapping[1].to"]);
    let rules = [backend("one", &[("apps/**", "**", Mode::Proxy)])];
    assert_eq!(
        keys(&rules, &[folder("infra"), folder("apps/x"), Folder::root()]),
        ["store.local[1]", "store.local[2]"]
    );
}

#[test]
fn the_folder_of_a_backend_is_what_its_rules_share() {
    let folder_of = |rules: &[(&str, &str, Mode)]| {
        let router = Router::compile(&[backend("one", rules)], &[], false).unwrap();
        router.backend_folder(0).map(|folder| folder.to_string())
    };
    let rule = |from| (from, "x", Mode::Proxy);
    assert_eq!(folder_of(&[("a/b/**", "**", Mode::Proxy)]).as_deref(), Some("a/b"));
    assert_eq!(folder_of(&[rule("a/b/c"), rule("a/b/d")]).as_deref(), Some("a/b"));
    assert_eq!(folder_of(&[rule("a/b/c"), ("a/bc/*", "*", Mode::Proxy)]).as_deref(), Some("a"));
    assert_eq!(folder_of(&[rule("a/b"), rule("b/b")]), None);
    assert_eq!(folder_of(&[("**", "**", Mode::Proxy)]), None);
    assert_eq!(folder_of(&[]), None);
    assert_eq!(router().backend_folder(9), None);
}
