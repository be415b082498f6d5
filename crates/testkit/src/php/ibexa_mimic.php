<?php
// An Ibexa node on PHP's own database drivers and file functions, for the tests of ezdfs.
//
// The first line of stdin says where everything is, each further line is one call:
//   {"op": "create", "id": "images/a.png", ...}  ->  {"ok": ...} or {"error": ..., "message": ...}
// Bytes are written in hex, unsigned 64-bit numbers as text.

declare(strict_types=1);

final class NotFound extends RuntimeException {}
final class CorruptedPath extends RuntimeException {}
final class PathTraversal extends RuntimeException {}

/** The rows: what Ibexa and eZ Publish send to the database. Names are whole. */
final class Rows
{
    private readonly string $table;
    private const COLUMNS = 'name, name_trunk, datatype, scope, size, mtime,'
        . ' CASE WHEN expired = TRUE THEN 1 ELSE 0 END AS expired,'
        . ' CASE WHEN status = TRUE THEN 1 ELSE 0 END AS status';

    public function __construct(private readonly PDO $db, private readonly bool $mysql, string $table)
    {
        $this->table = $mysql ? "`$table`" : "\"$table\"";
    }

    /** Booleans are given as literals, so all values are text or numbers. */
    private function run(string $sql, array $values): PDOStatement
    {
        $statement = $this->db->prepare(str_replace('{t}', $this->table, $sql));
        foreach ($values as $at => $value) {
            $statement->bindValue($at + 1, $value, is_int($value) ? PDO::PARAM_INT : PDO::PARAM_STR);
        }
        $statement->execute();
        return $statement;
    }

    /** On any error of the INSERT an UPDATE, whose row count nobody looks at. */
    public function store(array $row): void
    {
        $hash = md5($row['name']);
        try {
            $this->run(
                'INSERT INTO {t} (name, name_hash, name_trunk, mtime, size, scope, datatype)'
                . ' VALUES (?, ?, ?, ?, ?, ?, ?)',
                [$row['name'], $hash, $row['name_trunk'], $row['mtime'], $row['size'], $row['scope'],
                    $row['datatype']],
            );
        } catch (PDOException) {
            $this->run(
                'UPDATE {t} SET mtime = ?, size = ?, scope = ?, datatype = ? WHERE name_hash = ?',
                [$row['mtime'], $row['size'], $row['scope'], $row['datatype'], $hash],
            );
        }
    }

    /** eZ Publish: one statement, which also clears the mark. */
    public function legacyStore(array $row): void
    {
        $columns = ['datatype', 'scope', 'size', 'mtime', 'expired'];
        $this->run(
            'INSERT INTO {t} (datatype, name, name_trunk, name_hash, scope, size, mtime, expired)'
            . ' VALUES (?, ?, ?, ?, ?, ?, ?, FALSE) ' . $this->onDuplicate($columns),
            [$row['datatype'], $row['name'], $row['name_trunk'], md5($row['name']), $row['scope'],
                $row['size'], $row['mtime']],
        );
    }

    private function onDuplicate(array $columns): string
    {
        $set = array_map(fn ($c) => $this->mysql ? "$c = VALUES($c)" : "$c = excluded.$c", $columns);
        $start = $this->mysql ? 'ON DUPLICATE KEY UPDATE ' : 'ON CONFLICT (name_hash) DO UPDATE SET ';
        return $start . implode(', ', $set);
    }

    public function load(string $name): ?array
    {
        $statement = $this->run(
            'SELECT ' . self::COLUMNS
            . ' FROM {t} WHERE name_hash = ? AND expired != true AND mtime > 0',
            [md5($name)],
        );
        // Ibexa asks for the number of rows before it reads one.
        return $statement->rowCount() === 1 ? self::row($statement) : null;
    }

    public function delete(string $name): bool
    {
        return $this->run('DELETE FROM {t} WHERE name_hash = ?', [md5($name)])->rowCount() === 1;
    }

    public function deleteDirectory(string $name): void
    {
        // A backslash is not escaped.
        $pattern = addcslashes($name, '%_') . '/%';
        $escape = $this->mysql ? "'\\\\'" : "'\\'";
        $this->run("DELETE FROM {t} WHERE name LIKE ? ESCAPE $escape", [$pattern]);
    }

    public function softDelete(string $name): void
    {
        $this->run(
            'UPDATE {t} SET mtime = -ABS(mtime), expired = TRUE WHERE name_hash = ?',
            [md5($name)],
        );
    }

    public function purge(string $name): bool
    {
        $sql = 'DELETE FROM {t} WHERE name_hash = ? AND expired = TRUE';
        return $this->run($sql, [md5($name)])->rowCount() === 1;
    }

    public function get(string $hash): ?array
    {
        return self::row($this->run('SELECT ' . self::COLUMNS . ' FROM {t} WHERE name_hash = ?', [$hash]));
    }

    private static function row(PDOStatement $statement): ?array
    {
        $row = $statement->fetch(PDO::FETCH_ASSOC);
        if ($row === false) {
            return null;
        }
        return [
            'size' => (string) $row['size'],
            'mtime' => (int) $row['mtime'],
            'expired' => (int) $row['expired'] === 1,
            'status' => (int) $row['status'] === 1,
        ] + $row;
    }

    public function set(string $hash, array $row): void
    {
        $columns = ['name', 'name_trunk', 'datatype', 'scope', 'size', 'mtime', 'expired', 'status'];
        $flag = fn (bool $value) => $value ? 'TRUE' : 'FALSE';
        $this->run(
            'INSERT INTO {t} (name_hash, ' . implode(', ', $columns) . ') VALUES (?, ?, ?, ?, ?, ?, ?, '
            . $flag($row['expired']) . ', ' . $flag($row['status']) . ') ' . $this->onDuplicate($columns),
            [$hash, $row['name'], $row['name_trunk'], $row['datatype'], $row['scope'], $row['size'],
                $row['mtime']],
        );
    }
}

/** The bytes: a local directory, written in place. */
final class Binaries
{
    public function __construct(private readonly string $root) {}

    private function path(string $id): string
    {
        if (preg_match('/\p{C}/u', $id) !== 0) {
            throw new CorruptedPath();
        }
        $segments = [];
        foreach (explode('/', str_replace('\\', '/', $id)) as $segment) {
            if ($segment === '..') {
                if ($segments === []) {
                    throw new PathTraversal();
                }
                array_pop($segments);
            } elseif ($segment !== '' && $segment !== '.') {
                $segments[] = $segment;
            }
        }
        return $this->root . '/' . implode('/', $segments);
    }

    public function write(string $id, string $bytes): void
    {
        $path = $this->path($id);
        $directory = dirname($path);
        if (!is_dir($directory) && !@mkdir($directory, 0755, true) && !is_dir($directory)) {
            throw new RuntimeException("cannot make $directory");
        }
        $stream = fopen('php://temp', 'r+b');
        fwrite($stream, $bytes);
        rewind($stream);
        file_put_contents($path, $stream, LOCK_EX);
        fclose($stream);
        chmod($path, 0644);
    }

    public function read(string $id): string
    {
        try {
            return file_get_contents($this->path($id));
        } catch (Throwable) {
            // Whatever went wrong.
            throw new NotFound();
        }
    }

    public function delete(string $id): void
    {
        $path = $this->path($id);
        if (file_exists($path)) {
            unlink($path);
        }
    }

    public function deleteDirectory(string $id): void
    {
        $path = $this->path($id);
        if (!is_dir($path)) {
            return;
        }
        $tree = new RecursiveIteratorIterator(
            new RecursiveDirectoryIterator($path, FilesystemIterator::SKIP_DOTS),
            RecursiveIteratorIterator::CHILD_FIRST,
        );
        foreach ($tree as $entry) {
            $entry->isDir() && !$entry->isLink() ? rmdir($entry->getPathname()) : unlink($entry->getPathname());
        }
        rmdir($path);
    }
}

/** The IO service of one node. */
final class Node
{
    public function __construct(
        private readonly Rows $rows,
        private readonly Binaries $binaries,
        private readonly PDO $db,
        private readonly string $prefix,
    ) {}

    private function name(string $id): string
    {
        $prefix = trim($this->prefix, '/');
        return ($prefix === '' ? '' : "$prefix/") . trim($id, '/');
    }

    private static function scope(string $id): string
    {
        return match (strstr($id, '/', true)) {
            'images' => 'image',
            'original' => 'binaryfile',
            default => 'UNKNOWN_SCOPE',
        };
    }

    private function visible(string $id): array
    {
        return $this->rows->load($this->name($id)) ?? throw new NotFound();
    }

    private function row(array $call): array
    {
        $name = $this->name($call['id']);
        return [
            'name' => $name,
            'name_trunk' => $name,
            'scope' => self::scope($call['id']),
            'size' => $call['size'],
            'mtime' => $call['mtime'] ?? time(),
            'datatype' => $call['datatype'],
        ];
    }

    public function answer(array $call): mixed
    {
        $id = $call['id'] ?? '';
        switch ($call['op']) {
            case 'create':
                $this->binaries->write($id, hex2bin($call['bytes']));
                $this->rows->store($this->row($call));
                return null;
            case 'load':
                return array_intersect_key($this->visible($id), ['size' => 0, 'mtime' => 0]);
            case 'exists':
                return $this->rows->load($this->name($id)) !== null;
            case 'mime_type':
                return $this->visible($id)['datatype'];
            case 'contents':
                return bin2hex($this->binaries->read($id));
            case 'delete':
                $hadRow = $this->rows->delete($this->name($id));
                $this->binaries->delete($id);
                return $hadRow ? null : throw new NotFound();
            case 'delete_directory':
                $this->rows->deleteDirectory($this->name($id));
                $this->binaries->deleteDirectory($id);
                return null;
            case 'soft_delete':
                $this->rows->softDelete($this->name($id));
                return null;
            case 'row_store':
                $this->rows->store($call['row']);
                return null;
            case 'row_legacy_store':
                $this->rows->legacyStore($call['row']);
                return null;
            case 'row_load':
                return $this->rows->load($call['name']);
            case 'row_delete':
                return $this->rows->delete($call['name']);
            case 'row_purge':
                return $this->rows->purge($call['name']);
            case 'row_soft_delete':
                $this->rows->softDelete($call['name']);
                return null;
            case 'row_delete_directory':
                $this->rows->deleteDirectory($call['name']);
                return null;
            case 'row_set':
                $this->rows->set($call['hash'], $call['row']);
                return null;
            case 'row_get':
                return $this->rows->get($call['hash']);
            case 'begin':
                return $this->db->beginTransaction();
            case 'commit':
                return $this->db->commit();
            case 'rollback':
                return $this->db->rollBack();
            default:
                throw new LogicException("no such call: {$call['op']}");
        }
    }
}

set_error_handler(function (int $level, string $message, string $file, int $line): bool {
    // Silenced by `@`: the code that follows looks for itself, e.g. whether two made one directory.
    if ((error_reporting() & $level) === 0) {
        return true;
    }
    throw new ErrorException($message, 0, $level, $file, $line);
});

/** @return array{PDO, bool} */
function connect(array $settings): array
{
    $mysql = $settings['driver'] === 'mysql';
    $dsn = "{$settings['driver']}:host={$settings['host']};port={$settings['port']};"
        . "dbname={$settings['database']}" . ($mysql ? ';charset=utf8mb4' : '');
    $db = new PDO($dsn, $settings['user'], $settings['password'], [
        PDO::ATTR_ERRMODE => PDO::ERRMODE_EXCEPTION,
    ]);
    if (!$mysql) {
        // Doctrine's settings.
        $db->setAttribute(PDO::PGSQL_ATTR_DISABLE_PREPARES, true);
        $db->exec("SET NAMES 'utf8'");
    }
    return [$db, $mysql];
}

function answerLine(callable $work): void
{
    try {
        $answer = ['ok' => $work()];
    } catch (PDOException $e) {
        $answer = ['error' => 'Database', 'message' => $e->getMessage(), 'sqlstate' => (string) $e->getCode()];
    } catch (Throwable $e) {
        $answer = ['error' => get_class($e), 'message' => $e->getMessage()];
    }
    fwrite(STDOUT, json_encode($answer, JSON_THROW_ON_ERROR | JSON_INVALID_UTF8_SUBSTITUTE) . "\n");
    fflush(STDOUT);
}

$node = null;
while (($line = fgets(STDIN)) !== false) {
    $call = json_decode($line, true, 16, JSON_THROW_ON_ERROR);
    answerLine(function () use (&$node, $call) {
        if ($node !== null) {
            return $node->answer($call);
        }
        [$db, $mysql] = connect($call);
        $rows = new Rows($db, $mysql, $call['table']);
        $node = new Node($rows, new Binaries($call['root']), $db, $call['prefix']);
        return PHP_VERSION;
    });
}
