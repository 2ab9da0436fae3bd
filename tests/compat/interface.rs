//! The wire interface: what generated clients in any language, and reflection, are built on.

use graven_proto::{FILE_DESCRIPTOR_SET, v1::ErrorReason};
use prost::Message as _;
use prost_types::{
    DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorProto, FileDescriptorSet,
    ServiceDescriptorProto,
    field_descriptor_proto::{Label, Type},
};

use crate::facts::{Facts, broken, keep, unpromised};

const PACKAGE: &str = "graven.v1";

#[test]
fn the_wire_interface_stays() {
    let mut facts = facts_of(&descriptors());
    facts.extend(reasons());
    keep("proto.txt", &facts);
}

fn descriptors() -> FileDescriptorSet {
    FileDescriptorSet::decode(FILE_DESCRIPTOR_SET).unwrap()
}

/// Facts of the package, file by file. Which file a type stands in counts: generated code is imported by file.
fn facts_of(set: &FileDescriptorSet) -> Facts {
    set.file.iter().filter(|file| file.package() == PACKAGE).flat_map(of_file).collect()
}

fn of_file(file: &FileDescriptorProto) -> Facts {
    let scope = format!("{}: ", file.name());
    let mut facts = vec![format!("{scope}package {}, {}", file.package(), file.syntax())];
    if let Some(options) = &file.options {
        // They name generated classes and packages.
        facts.push(format!("{scope}{options:?}"));
    }
    for it in &file.enum_type {
        facts.push(format!("{scope}enum {}", it.name()));
        facts.extend(of_enum(file.package(), it));
    }
    for it in &file.message_type {
        facts.push(format!("{scope}message {}", it.name()));
        facts.extend(of_message(file.package(), it));
    }
    for it in &file.service {
        facts.push(format!("{scope}service {}", it.name()));
        facts.extend(of_service(it));
    }
    facts
}

fn of_enum(scope: &str, it: &EnumDescriptorProto) -> Facts {
    let scope = format!("{scope}.{}", it.name());
    it.value.iter().map(|value| format!("{scope}: {} = {}", value.name(), value.number())).collect()
}

fn of_message(scope: &str, it: &DescriptorProto) -> Facts {
    let scope = format!("{scope}.{}", it.name());
    let fields = it.field.iter().map(|field| format!("{scope}: {}", field_fact(it, field)));
    let enums = it.enum_type.iter().flat_map(|it| of_enum(&scope, it));
    let messages = it.nested_type.iter().flat_map(|it| of_message(&scope, it));
    fields.chain(enums).chain(messages).collect()
}

fn field_fact(message: &DescriptorProto, field: &FieldDescriptorProto) -> String {
    let label = match field.label() {
        Label::Repeated => "repeated ",
        Label::Required => "required ",
        Label::Optional if field.proto3_optional() => "optional ",
        Label::Optional => "",
    };
    let kind = match field.r#type() {
        Type::Message | Type::Enum | Type::Group => field.type_name().to_owned(),
        scalar => scalar.as_str_name().trim_start_matches("TYPE_").to_lowercase(),
    };
    let choice = field.oneof_index.filter(|_| !field.proto3_optional()).map_or_else(String::new, |index| {
        let name = message.oneof_decl[usize::try_from(index).unwrap()].name();
        format!(", one of `{name}`")
    });
    let packed = field.options.as_ref().and_then(|options| options.packed);
    let packed = packed.map_or_else(String::new, |packed| format!(", packed = {packed}"));
    let (name, number, json) = (field.name(), field.number(), field.json_name());
    format!("{label}{kind} {name} = {number}, `{json}` in JSON{choice}{packed}")
}

fn of_service(it: &ServiceDescriptorProto) -> Facts {
    let fact = |method: &prost_types::MethodDescriptorProto| {
        let stream = |streams| if streams { "stream " } else { "" };
        format!(
            "{PACKAGE}.{}: {}({}{}) returns ({}{})",
            it.name(),
            method.name(),
            stream(method.client_streaming()),
            method.input_type(),
            stream(method.server_streaming()),
            method.output_type()
        )
    };
    it.method.iter().map(fact).collect()
}

/// The code of a reason never changes: programs that do not know the reason go by it.
fn reasons() -> Facts {
    let set = descriptors();
    let enums = set.file.iter().flat_map(|file| &file.enum_type);
    let reasons = enums.filter(|it| it.name() == "ErrorReason").flat_map(|it| &it.value);
    let fact = |name: &str| {
        let code = ErrorReason::from_str_name(name).unwrap().code();
        format!("{PACKAGE}.ErrorReason: {name} is refused with {code:?}")
    };
    reasons.map(|value| fact(value.name())).collect()
}

/// Changes the descriptors, and answers which facts are gone and which are new.
fn changed(change: impl FnOnce(&mut FileDescriptorSet)) -> (Facts, Facts) {
    let promised = facts_of(&descriptors()).join("\n");
    let mut set = descriptors();
    change(&mut set);
    let facts = facts_of(&set);
    (broken(&promised, &facts), unpromised(&promised, &facts))
}

fn file<'a>(set: &'a mut FileDescriptorSet, name: &str) -> &'a mut FileDescriptorProto {
    let name = format!("graven/v1/{name}.proto");
    set.file.iter_mut().find(|file| file.name() == name).unwrap()
}

fn message<'a>(set: &'a mut FileDescriptorSet, in_file: &str, name: &str) -> &'a mut DescriptorProto {
    file(set, in_file).message_type.iter_mut().find(|it| it.name() == name).unwrap()
}

fn field<'a>(set: &'a mut FileDescriptorSet, name: &str) -> &'a mut FieldDescriptorProto {
    let fields = &mut message(set, "log_service", "AppendRequest").field;
    fields.iter_mut().find(|it| it.name() == name).unwrap()
}

#[test]
fn every_kind_of_breach_is_found() {
    type Breach = (&'static str, fn(&mut FileDescriptorSet), &'static str);
    let breaches: [Breach; 15] = [
        ("a field goes", |set| message(set, "types", "TreeHead").field.truncate(4), "checkpoint = 5"),
        ("a field gets another number", |set| field(set, "wait").number = Some(9), "wait = 5"),
        ("a field gets another type", |set| field(set, "entry").set_type(Type::String), "bytes entry"),
        ("a field is repeated", |set| field(set, "log").set_label(Label::Repeated), "string log"),
        ("a field gets a presence", |set| field(set, "log").proto3_optional = Some(true), "string log"),
        ("a field is renamed", |set| field(set, "entry").name = Some("leaf".to_owned()), "bytes entry"),
        (
            "a field is renamed in JSON",
            |set| field(set, "log").json_name = Some("l".to_owned()),
            "string log",
        ),
        (
            "a field leaves its choice",
            |set| message(set, "log_service", "GetInclusionProofRequest").field[1].oneof_index = None,
            "index = 2",
        ),
        ("a message goes", |set| drop(file(set, "types").message_type.remove(0)), "message TreeHead"),
        (
            "a message is renamed",
            |set| message(set, "types", "TreeHead").name = Some("Head".to_owned()),
            "TreeHead",
        ),
        (
            "a type moves to another file",
            |set| {
                let moved = file(set, "types").enum_type.remove(0);
                file(set, "errors").enum_type.push(moved);
            },
            "types.proto: enum Wait",
        ),
        (
            "a value of an enum gets another number",
            |set| file(set, "types").enum_type[0].value[2].number = Some(7),
            "WAIT_PUBLISHED = 2",
        ),
        ("a method goes", |set| drop(file(set, "admin_service").service[0].method.pop()), "RotateKeys"),
        (
            "a method takes another message",
            |set| {
                file(set, "admin_service").service[0].method[0].input_type =
                    Some(".graven.v1.LogInfo".to_owned());
            },
            "CreateLog(",
        ),
        (
            "a method's answer is no stream any more",
            |set| file(set, "log_service").service[0].method[4].server_streaming = None,
            "WatchTreeHeads(",
        ),
    ];
    for (name, change, fact) in breaches {
        let (broken, _) = changed(change);
        assert!(broken.iter().any(|gone| gone.contains(fact)), "{name}: {broken:#?}");
    }
}

#[test]
fn additions_are_new_and_break_nothing() {
    let additions: [fn(&mut FileDescriptorSet); 4] = [
        |set| {
            let fields = &mut message(set, "types", "TreeHead").field;
            let new =
                FieldDescriptorProto { name: Some("new".to_owned()), number: Some(6), ..fields[0].clone() };
            fields.push(new);
        },
        |set| {
            let new = DescriptorProto { name: Some("New".to_owned()), ..Default::default() };
            file(set, "types").message_type.push(new);
        },
        |set| {
            let values = &mut file(set, "errors").enum_type[0].value;
            let mut new = values[0].clone();
            (new.name, new.number) = (Some("NEW".to_owned()), Some(200));
            values.push(new);
        },
        |set| {
            let methods = &mut file(set, "admin_service").service[0].method;
            let mut new = methods[0].clone();
            new.name = Some("New".to_owned());
            methods.push(new);
        },
    ];
    for addition in additions {
        let (broken, new) = changed(addition);
        assert!(broken.is_empty(), "{broken:#?}");
        assert_eq!(new.len(), 1, "{new:#?}");
    }
}
