import java.io.BufferedReader;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.lang.reflect.InvocationTargetException;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.Base64;
import org.apache.kafka.common.utils.Exit;

/**
 * Runs Kafka's command-line tools one after the other in one process, which need not start a JVM for each.
 *
 * <p>In: a line a call: its words in Base64 with a blank between, of which the first is the tool's class and the second what it
 * reads from its standard input. Out: what the tool prints on both of its outputs, in Base64, a line a call.
 */
public final class Tools {
    /** A tool that wants to end the process. Some print this too, as a failure of theirs: the caller knows it by the message. */
    private static final class Ended extends RuntimeException {
        private static final long serialVersionUID = 1;

        Ended() {
            super("the tool has ended", null, false, false);
        }
    }

    private Tools() {}

    public static void main(String[] none) throws IOException {
        PrintStream answers = System.out;
        BufferedReader calls = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.US_ASCII));
        Exit.Procedure ends = (status, message) -> {
            throw new Ended();
        };
        Exit.setExitProcedure(ends);
        Exit.setHaltProcedure(ends);
        for (String line = calls.readLine(); line != null; line = calls.readLine()) {
            byte[][] words = Arrays.stream(line.split(" ", -1)).map(Base64.getDecoder()::decode).toArray(byte[][]::new);
            answers.println(Base64.getEncoder().encodeToString(told(words)));
            answers.flush();
        }
    }

    /** What the call prints. */
    private static byte[] told(byte[][] words) {
        ByteArrayOutputStream told = new ByteArrayOutputStream();
        PrintStream both = new PrintStream(told, true, StandardCharsets.UTF_8);
        System.setIn(new ByteArrayInputStream(words[1]));
        System.setOut(both);
        System.setErr(both);
        Object arguments = Arrays.stream(words).skip(2).map(word -> new String(word, StandardCharsets.UTF_8)).toArray(String[]::new);
        try {
            Class.forName(new String(words[0], StandardCharsets.UTF_8)).getMethod("main", String[].class).invoke(null, arguments);
        } catch (InvocationTargetException thrown) {
            if (!(thrown.getCause() instanceof Ended)) {
                thrown.getCause().printStackTrace(both);
            }
        } catch (ReflectiveOperationException unknown) {
            unknown.printStackTrace(both);
        }
        both.flush();
        return told.toByteArray();
    }
}
