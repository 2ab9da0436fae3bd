import com.google.protobuf.Any;
import com.google.protobuf.ByteString;
import com.google.protobuf.util.Durations;
import com.google.protobuf.util.Timestamps;
import com.google.rpc.ErrorInfo;
import com.google.rpc.RetryInfo;
import graven.v1.AppendRequest;
import graven.v1.AppendResponse;
import graven.v1.ErrorReason;
import graven.v1.LogServiceGrpc;
import graven.v1.LogServiceGrpc.LogServiceBlockingStub;
import graven.v1.Wait;
import io.grpc.Grpc;
import io.grpc.ManagedChannel;
import io.grpc.Metadata;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import io.grpc.TlsChannelCredentials;
import io.grpc.protobuf.StatusProto;
import io.grpc.stub.MetadataUtils;
import java.io.File;
import java.io.IOException;
import java.net.URI;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
import java.util.concurrent.TimeUnit;

/**
 * Puts an entry into a Graven log and keeps the proof that it is there.
 *
 * <pre>GRAVEN_SERVER=https://localhost:4740 GRAVEN_CA=ca.pem GRAVEN_TOKEN=gvn_… java Append KEY ENTRY PROOF</pre>
 *
 * KEY names this append: however often it is repeated, also by another process, there is one entry.
 */
public final class Append {
  private static final Duration PATIENCE = Duration.ofMinutes(1);

  public static void main(String[] arguments) throws Exception {
    if (arguments.length != 3) {
      System.err.println("usage: Append KEY ENTRY PROOF");
      System.exit(2);
    }
    var channel = connect(System.getenv("GRAVEN_SERVER"), System.getenv("GRAVEN_CA"));
    try {
      var logs = LogServiceGrpc.newBlockingStub(channel)
          .withInterceptors(MetadataUtils.newAttachHeadersInterceptor(bearer(System.getenv("GRAVEN_TOKEN"))));
      var answer = send(logs, AppendRequest.newBuilder()
          .setLog("audit")
          .setEntry(ByteString.copyFrom(Files.readAllBytes(Path.of(arguments[1]))))
          .setIdempotencyKey(arguments[0])
          // A repeat that comes after the server forgot the key is refused, not appended again.
          .setIdempotencyIssuedAt(Timestamps.now())
          .setWait(Wait.WAIT_PUBLISHED)
          .build());
      Files.write(Path.of(arguments[2]), answer.getProof().toByteArray());
      System.out.printf("entry %d is published (repeated: %b)%n", answer.getIndex(), answer.getDuplicate());
    } catch (Refused refused) {
      System.err.println(refused.getMessage());
      System.exit(1);
    } finally {
      channel.shutdownNow();
    }
  }

  private static ManagedChannel connect(String server, String caFile) throws IOException {
    var tls = TlsChannelCredentials.newBuilder().trustManager(new File(caFile)).build();
    return Grpc.newChannelBuilder(URI.create(server).getAuthority(), tls).build();
  }

  private static Metadata bearer(String token) {
    var headers = new Metadata();
    headers.put(Metadata.Key.of("authorization", Metadata.ASCII_STRING_MARSHALLER), "Bearer " + token);
    return headers;
  }

  /** Repeats the very same request for as long as the server says that this may help. */
  private static AppendResponse send(LogServiceBlockingStub logs, AppendRequest request) throws Exception {
    var until = Instant.now().plus(PATIENCE);
    while (true) {
      var left = Duration.between(Instant.now(), until);
      try {
        return logs.withDeadlineAfter(left.toMillis(), TimeUnit.MILLISECONDS).append(request);
      } catch (StatusRuntimeException error) {
        var refusal = Refusal.of(error);
        var delay = refusal.delay();
        if (refusal.reason().equals(ErrorReason.WAIT_TIMED_OUT.name())) {
          delay = Duration.ZERO; // Durable, but not published yet: the repeat goes on waiting.
        } else if (refusal.reason().isEmpty() && error.getStatus().getCode() == Status.Code.UNAVAILABLE) {
          delay = Duration.ofSeconds(1); // The connection broke, perhaps after the append.
        }
        if (delay == null || Instant.now().plus(delay).isAfter(until)) {
          throw new Refused(refusal.reason(), error);
        }
        System.err.printf("%s: again in %d ms%n", error.getStatus().getDescription(), delay.toMillis());
        Thread.sleep(delay.toMillis());
      }
    }
  }

  /** The reason, a name in ErrorReason or empty, and how long to wait before a retry, or null if none helps. */
  private record Refusal(String reason, Duration delay) {
    static Refusal of(StatusRuntimeException error) throws IOException {
      var reason = "";
      Duration delay = null;
      for (Any detail : StatusProto.fromThrowable(error).getDetailsList()) {
        if (detail.is(ErrorInfo.class)) {
          var info = detail.unpack(ErrorInfo.class);
          reason = info.getDomain().equals("graven.v1") ? info.getReason() : reason;
        } else if (detail.is(RetryInfo.class)) {
          delay = Duration.ofNanos(Durations.toNanos(detail.unpack(RetryInfo.class).getRetryDelay()));
        }
      }
      return new Refusal(reason, delay);
    }
  }

  private static final class Refused extends Exception {
    Refused(String reason, StatusRuntimeException error) {
      super(reason + ": " + error.getMessage(), error);
    }
  }
}
