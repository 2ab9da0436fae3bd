//! Any call of any service, made from nothing but the descriptors: a new one cannot be forgotten.

use bytes::{Buf, BufMut, Bytes};
use graven_proto::FILE_DESCRIPTOR_SET;
use prost::Message as _;
use prost_types::{DescriptorProto, FileDescriptorSet, field_descriptor_proto::Type};
use tonic::{
    Code, Request, Status,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    metadata::AsciiMetadataValue,
    transport::Channel,
};

/// A method and how its request names a log.
#[derive(Debug)]
pub(crate) struct Method {
    /// Its last part, such as `Append`.
    pub(crate) name: String,
    pub(crate) path: String,
    /// The numbers of the fields that lead to the log's name; empty where it names none.
    log: Vec<u32>,
}

/// Every method of the package.
pub(crate) fn methods() -> Vec<Method> {
    let set = FileDescriptorSet::decode(FILE_DESCRIPTOR_SET).unwrap();
    let messages: Vec<_> = set.file.iter().flat_map(|file| &file.message_type).collect();
    let services = set.file.iter().flat_map(|file| file.service.iter().map(|it| (file.package(), it)));
    let methods =
        services.flat_map(|(package, service)| service.method.iter().map(move |it| (package, service, it)));
    methods
        .map(|(package, service, method)| Method {
            name: method.name().to_owned(),
            path: format!("/{package}.{}/{}", service.name(), method.name()),
            log: way_to_log(&messages, method.input_type()).unwrap_or_default(),
        })
        .collect()
}

/// The way from a message to the field with a log's name.
fn way_to_log(messages: &[&DescriptorProto], type_name: &str) -> Option<Vec<u32>> {
    let message = messages.iter().find(|it| type_name.ends_with(&format!(".{}", it.name())))?;
    let number = |number: i32| u32::try_from(number).unwrap();
    let named = |field: &&prost_types::FieldDescriptorProto| {
        field.r#type() == Type::String && matches!(field.name(), "log" | "name")
    };
    if let Some(field) = message.field.iter().find(named) {
        return Some(vec![number(field.number())]);
    }
    message.field.iter().find_map(|field| {
        let way = way_to_log(messages, field.type_name())?;
        Some([vec![number(field.number())], way].concat())
    })
}

impl Method {
    /// One that is not in the package, called with an empty message.
    pub(crate) fn at(path: &str) -> Self {
        Self { name: path.to_owned(), path: path.to_owned(), log: Vec::new() }
    }

    /// The request that names this log, and says nothing else.
    fn request(&self, log: &str) -> Bytes {
        let mut bytes = log.as_bytes().to_vec();
        for number in self.log.iter().rev() {
            let mut outer = Vec::new();
            prost::encoding::bytes::encode(*number, &bytes, &mut outer);
            bytes = outer;
        }
        if self.log.is_empty() { Bytes::new() } else { bytes.into() }
    }

    /// Calls it with these `authorization` headers. The first message of the answer counts, or the refusal.
    pub(crate) async fn call(
        &self,
        channel: &Channel,
        log: &str,
        authorization: &[String],
    ) -> Result<(), Status> {
        let headers: Vec<_> = authorization.iter().map(|value| ("authorization", value.clone())).collect();
        self.call_with(channel, log, &headers).await
    }

    /// As [`call`](Self::call), with whatever headers.
    pub(crate) async fn call_with(
        &self,
        channel: &Channel,
        log: &str,
        headers: &[(&'static str, String)],
    ) -> Result<(), Status> {
        let mut request = Request::new(tokio_stream::once(self.request(log)));
        for (name, value) in headers {
            let value: AsciiMetadataValue = value.parse().unwrap();
            request.metadata_mut().append(*name, value);
        }
        request.set_timeout(std::time::Duration::from_secs(5));
        let mut client = tonic::client::Grpc::new(channel.clone());
        client.ready().await.map_err(|error| Status::new(Code::Unknown, error.to_string()))?;
        let path = self.path.parse().unwrap();
        let answer = client.streaming(request, path, Verbatim).await?;
        answer.into_inner().message().await.map(drop)
    }
}

/// Messages as their bytes.
struct Verbatim;

impl Codec for Verbatim {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Verbatim {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put(item);
        Ok(())
    }
}

impl Decoder for Verbatim {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(buffer.copy_to_bytes(buffer.remaining())))
    }
}
